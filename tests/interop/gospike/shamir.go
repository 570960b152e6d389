// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/cloudflare/circl/secretsharing"
	"github.com/spiffe/spike-sdk-go/config/env"
	"github.com/spiffe/spike-sdk-go/crypto"
	"github.com/spiffe/spike-sdk-go/security/mem"
)

// scalar is a root key or a shard: 32 bytes, big endian; hex in JSON.
type scalar [crypto.AES256KeySize]byte

// MarshalText implements encoding.TextMarshaler.
func (s scalar) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, s[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. Its error never quotes the text.
func (s *scalar) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return errors.New("a scalar is 64 hexadecimal digits")
	}
	if _, err := hex.Decode(s[:], text); err != nil {
		return errors.New("a scalar is 64 hexadecimal digits")
	}
	return nil
}

// shards maps a keeper's id, from 1, to its shard.
type shards map[uint64]scalar

type splitMessage struct {
	RootKey   scalar `json:"root_key"`
	Threshold int    `json:"threshold"`
	Shares    int    `json:"shares"`
}

type splitAnswer struct {
	Shards shards `json:"shards"`
}

type recoverMessage struct {
	Shards    shards `json:"shards"`
	Threshold int    `json:"threshold"`
}

type recoverAnswer struct {
	RootKey scalar `json:"root_key"`
}

func answerSplit(message splitMessage) (any, error) {
	if err := configureSplit(message.Threshold, message.Shares); err != nil {
		return nil, err
	}
	parts, err := split(message.RootKey)
	return splitAnswer{Shards: parts}, err
}

func answerRecover(message recoverMessage) (any, error) {
	if err := configureSplit(message.Threshold, len(message.Shards)); err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(message.Shards))
	rootKey, err := recoverRootKey(message.Shards, ids)
	return recoverAnswer{RootKey: rootKey}, err
}

// configureSplit sets the threshold and the number of shares of every following split and
// recovery. The SDK takes both from the environment at each call, and from nowhere else.
func configureSplit(threshold, shares int) error {
	// What the SDK is not content with it answers by ending the process.
	if threshold < 1 || shares < threshold {
		return fmt.Errorf("a threshold of %d does not fit %d shares", threshold, shares)
	}
	return errors.Join(
		os.Setenv(env.NexusShamirThreshold, strconv.Itoa(threshold)),
		os.Setenv(env.NexusShamirShares, strconv.Itoa(shares)),
	)
}

// split is what Nexus makes of a root key before it pushes the shards to its keepers.
func split(rootKey scalar) (shards, error) {
	key := [crypto.AES256KeySize]byte(rootKey)
	if mem.Zeroed32(&key) {
		return nil, errors.New("the root key is zero")
	}
	_, parts := crypto.ComputeShares(&key)
	return shardsByID(parts)
}

func shardsByID(parts []secretsharing.Share) (shards, error) {
	byID := make(shards, len(parts))
	for _, part := range parts {
		id, idErr := part.ID.MarshalBinary()
		value, valueErr := part.Value.MarshalBinary()
		if err := errors.Join(idErr, valueErr); err != nil {
			return nil, err
		}
		byID[binary.BigEndian.Uint64(id[len(id)-8:])] = scalar(value)
	}
	return byID, nil
}

// recoverRootKey is what Nexus makes of the shards of the keepers with these ids; of more than
// the threshold CIRCL takes the first.
func recoverRootKey(held shards, ids []uint64) (scalar, error) {
	if len(ids) < env.ShamirThresholdVal() {
		return scalar{}, errors.New("there are fewer shards than the threshold")
	}
	parts := make([]crypto.ShamirShard, 0, len(ids))
	for _, id := range ids {
		value := [crypto.AES256KeySize]byte(held[id])
		parts = append(parts, crypto.ShamirShard{ID: id, Value: &value})
	}
	return scalar(*crypto.ComputeRootKeyFromShards(parts)), nil
}
