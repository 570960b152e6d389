# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data classes that cost little to define.

The standard library's writes and compiles source for each class: up to Python 3.12 for half a
millisecond, and a run defines sixty of them before it does anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(cls=None, *, frozen=False, eq=True):
        """Do what ``dataclasses.dataclass`` does, with the same functions for every class.

        ``dataclasses.fields``, ``replace`` and ``asdict`` know the result. All fields are compared.
        """

        def define(cls):
            cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            cls.__init__ = _init_of(cls)
            cls.__repr__ = _repr
            if eq:
                cls.__eq__ = _eq
                cls.__hash__ = _hash if frozen else None
            if frozen:
                cls.__setattr__ = _refuse
                cls.__delattr__ = _refuse
            return cls

        return define if cls is None else define(cls)

    def _init_of(cls):
        fields = dataclasses.fields(cls)
        names = tuple(field.name for field in fields)
        has_more = hasattr(cls, "__post_init__")

        def initialise(self, *values, **named):
            given = dict(zip(names, values))
            if len(values) != len(names) or named:
                if len(values) > len(names) or not given.keys().isdisjoint(named):
                    raise TypeError(f"{cls.__name__}() was given too many values")
                given.update(named)
                for field in fields:
                    if field.name not in given:
                        given[field.name] = _default(cls, field)
                if len(given) > len(names):
                    raise TypeError(f"{cls.__name__}() was given a value that it has no field for")
            self.__dict__.update(given)
            if has_more:
                self.__post_init__()

        return initialise

    def _default(cls, field):
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        raise TypeError(f"{cls.__name__}() misses a value for {field.name}")

    def _values(instance):
        return tuple(getattr(instance, name) for name in instance.__dataclass_fields__)

    def _repr(self):
        shown = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.repr
        )
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _eq(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _refuse(self, name: str, *_value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")


__all__ = ["dataclass"]
