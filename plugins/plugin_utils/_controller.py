# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That a run ends with the ansible-playbook that started it, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# How soon it is noticed that the parent is gone.
_LOOK_SECONDS = 1.0


@contextmanager
def ended_with_its_parent() -> Iterator[None]:
    """End this worker of Ansible's when the process that forked it is gone.

    A worker leads a session of its own, so one whose parent was killed would go on, and with it the
    module on the target, which holds the lock. It ends as Ansible ends its workers itself: by
    SIGTERM, which also ends its connection; the module notices that nobody reads its output.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        yield
        return
    over = threading.Event()
    main = threading.main_thread().ident
    watch = threading.Thread(target=_watch, args=(parent.pid, main, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(parent: int, main_thread: int, over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        if os.getppid() != parent:
            # To the main thread itself, which waits for the connection.
            signal.pthread_kill(main_thread, signal.SIGTERM)
            return


__all__ = ["ended_with_its_parent"]
