// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spiffe/spike-sdk-go/api/entity/data"
	"github.com/spiffe/spike-sdk-go/api/entity/v1/reqres"
	"github.com/spiffe/spike-sdk-go/config/env"
	"github.com/spiffe/spike-sdk-go/crypto"
	sdkErrors "github.com/spiffe/spike-sdk-go/errors"
	"github.com/spiffe/spike-sdk-go/journal"
	sdkNet "github.com/spiffe/spike-sdk-go/net"
	"github.com/spiffe/spike-sdk-go/spiffeid"
)

// What operators ask of Nexus in an emergency, with SPIKE's dangers: nobody looks whether shards
// belong together, nothing is taken back, and the threshold makes Nexus live on whatever key comes
// out. What the SDK cannot make a key of ends the process.

// recoverShards hands out the shards of the root key.
func (n *nexus) recoverShards(
	w http.ResponseWriter, r *http.Request, _ *journal.AuditEntry,
) *sdkErrors.SDKError {
	if _, err := sdkNet.ReadParseAndGuard(
		w, r, reqres.RecoverResponse{}.BadRequest(), guardRecover,
	); err != nil {
		return err
	}
	rootKey, ready := n.key()
	if !ready {
		return sdkNet.RespondWithInternalError(
			sdkErrors.ErrRootKeyEmpty.Clone(), w, reqres.RecoverResponse{},
		)
	}
	parts, err := split(rootKey)
	if err != nil {
		return sdkNet.RespondWithInternalError(
			sdkErrors.ErrRootKeyEmpty.Wrap(err), w, reqres.RecoverResponse{},
		)
	}
	answer := reqres.RecoverResponse{Shards: make(map[int]*[32]byte, len(parts))}
	for id, shard := range parts {
		value := [32]byte(shard)
		answer.Shards[int(id)] = &value
	}
	return sdkNet.Success(answer.Success(), w)
}

func guardRecover(
	_ reqres.RecoverRequest, w http.ResponseWriter, r *http.Request,
) *sdkErrors.SDKError {
	return sdkNet.AuthorizeAndRespondOnFailNoPolicy(
		reqres.RecoverResponse{}.Unauthorized(), spiffeid.IsPilotRecover, w, r,
	)
}

// restore takes one shard. One that is too short was filled up with zeros when it was read.
func (n *nexus) restore(
	w http.ResponseWriter, r *http.Request, _ *journal.AuditEntry,
) *sdkErrors.SDKError {
	request, err := sdkNet.ReadParseAndGuard(
		w, r, reqres.RestoreResponse{}.BadRequest(), guardRestore,
	)
	if err != nil {
		return err
	}
	answer := reqres.RestoreResponse{
		RestorationStatus: n.takeRestored(uint64(request.ID), scalar(*request.Shard)),
	}
	return sdkNet.Success(answer.Success(), w)
}

func guardRestore(
	request reqres.RestoreRequest, w http.ResponseWriter, r *http.Request,
) *sdkErrors.SDKError {
	badRequest := reqres.RestoreResponse{}.BadRequest()
	if err := sdkNet.AuthorizeAndRespondOnFailNoPolicy(
		reqres.RestoreResponse{}.Unauthorized(), spiffeid.IsPilotRestore, w, r,
	); err != nil {
		return err
	}
	// Up to the thousand that SPIKE allows: how many shards there are does not matter to it.
	if err := sdkNet.RespondErrOnBadRequestID(request.ID, badRequest, w); err != nil {
		return err
	}
	return sdkNet.RespondErrOnEmptyShard(request.Shard, badRequest, w)
}

func (n *nexus) takeRestored(id uint64, shard scalar) data.RestorationStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	threshold := env.ShamirThresholdVal()
	if _, given := n.restored[id]; !given && len(n.restored) < threshold {
		n.restored[id] = shard
		if len(n.restored) == threshold {
			n.goLive()
		}
	}
	collected := len(n.restored)
	return data.RestorationStatus{
		ShardsCollected: collected,
		ShardsRemaining: threshold - collected,
		Restored:        collected == threshold,
	}
}

// isRestored says whether it was operators who gave Nexus its key.
func (n *nexus) isRestored() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.restored) == env.ShamirThresholdVal()
}

// goLive holds the key that the operators' shards give. The caller has locked mu.
func (n *nexus) goLive() {
	parts := make([]crypto.ShamirShard, 0, len(n.restored))
	for id, shard := range n.restored {
		value := [crypto.AES256KeySize]byte(shard)
		parts = append(parts, crypto.ShamirShard{ID: id, Value: &value})
	}
	// Both end the process where the shards do not make a key.
	rootKey := crypto.ComputeRootKeyFromShards(parts)
	_, shares := crypto.ComputeShares(rootKey)
	n.hold(scalar(*rootKey))
	if supply, err := shardsByID(shares); err == nil {
		n.supply(supply)
	}
}

type lineMessage struct {
	Line string `json:"line"`
}

type lineAnswer struct {
	Index int    `json:"index"`
	Shard scalar `json:"shard"`
}

const (
	linePrefix    = "spike"
	lineSeparator = ":"
)

// answerLine reads a line as it is in the files of "spike operator recover", and as "spike operator
// restore" asks for it: spike:INDEX:HEX. The SDK has nothing that does. No error quotes the line.
func answerLine(message lineMessage) (any, error) {
	parts := strings.Split(strings.TrimSpace(message.Line), lineSeparator)
	if len(parts) != 3 || parts[0] != linePrefix {
		return nil, errors.New("not of the form spike:INDEX:HEX")
	}
	index, err := strconv.Atoi(parts[1])
	if err != nil || index < 1 || index > env.ShamirMaxShareCountVal() {
		return nil, errors.New("not an index")
	}
	value, err := hex.DecodeString(parts[2])
	if err != nil || len(value) != crypto.AES256KeySize {
		return nil, errors.New("not 32 bytes in hexadecimal")
	}
	return lineAnswer{Index: index, Shard: scalar(value)}, nil
}
