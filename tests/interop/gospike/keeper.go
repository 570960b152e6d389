// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net/http"
	"sync"

	"github.com/spiffe/spike-sdk-go/api/entity/v1/reqres"
	"github.com/spiffe/spike-sdk-go/api/url"
	sdkErrors "github.com/spiffe/spike-sdk-go/errors"
	"github.com/spiffe/spike-sdk-go/journal"
	sdkNet "github.com/spiffe/spike-sdk-go/net"
	"github.com/spiffe/spike-sdk-go/spiffeid"
)

// keeper is a SPIKE Keeper: one shard, in memory only.
type keeper struct {
	id uint64

	mu          sync.Mutex
	shard       *scalar
	contributes int
	requests    int
}

// keeperState is what a keeper tells about itself: never its shard.
type keeperState struct {
	ID       uint64 `json:"id"`
	HasShard bool   `json:"has_shard"`
	// Contributes counts the shards that it took.
	Contributes int `json:"contributes"`
	// Requests counts the HTTP requests that reached it, good or bad.
	Requests int `json:"requests"`
}

func (k *keeper) state() keeperState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return keeperState{
		ID:          k.id,
		HasShard:    k.shard != nil,
		Contributes: k.contributes,
		Requests:    k.requests,
	}
}

// held is the keeper's shard, if it has one.
func (k *keeper) held() (scalar, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shard == nil {
		return scalar{}, false
	}
	return *k.shard, true
}

func (k *keeper) take(shard scalar) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shard = &shard
	k.contributes++
}

// forget is what a restart does to the keeper's memory.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shard = nil
}

func (k *keeper) route(
	w http.ResponseWriter, r *http.Request, audit *journal.AuditEntry,
) *sdkErrors.SDKError {
	k.mu.Lock()
	k.requests++
	k.mu.Unlock()

	action := url.APIAction(r.URL.Query().Get(url.KeyAPIAction))
	return sdkNet.RouteFactory(url.APIURL(r.URL.Path), action, r.Method, k.handler)(w, r, audit)
}

func (k *keeper) handler(action url.APIAction, path url.APIURL) sdkNet.Handler {
	if path == url.KeeperContribute && action == url.ActionDefault {
		return k.contribute
	}
	if path == url.KeeperShard && action == url.ActionDefault {
		return k.give
	}
	return sdkNet.Fallback
}

// give answers Nexus, and nobody else, with the shard.
func (k *keeper) give(
	w http.ResponseWriter, r *http.Request, _ *journal.AuditEntry,
) *sdkErrors.SDKError {
	if _, err := sdkNet.ReadParseAndGuard(
		w, r, reqres.ShardGetResponse{}.BadRequest(), guardGive,
	); err != nil {
		return err
	}
	shard, held := k.held()
	if !held {
		return sdkNet.Fail(reqres.ShardGetResponse{}.NotFound(), w, http.StatusNotFound)
	}
	value := [32]byte(shard)
	return sdkNet.Success(reqres.ShardGetResponse{Shard: &value}.Success(), w)
}

func guardGive(
	_ reqres.ShardGetRequest, w http.ResponseWriter, r *http.Request,
) *sdkErrors.SDKError {
	return sdkNet.AuthorizeAndRespondOnFailNoPolicy(
		reqres.ShardGetResponse{}.Unauthorized(), spiffeid.IsNexus, w, r,
	)
}

func (k *keeper) contribute(
	w http.ResponseWriter, r *http.Request, _ *journal.AuditEntry,
) *sdkErrors.SDKError {
	request, err := sdkNet.ReadParseAndGuard(
		w, r, reqres.ShardPutResponse{}.BadRequest(), guardContribute,
	)
	if err != nil {
		return err
	}
	k.take(scalar(*request.Shard))
	return sdkNet.Success(reqres.ShardPutResponse{}.Success(), w)
}

func guardContribute(
	request reqres.ShardPutRequest, w http.ResponseWriter, r *http.Request,
) *sdkErrors.SDKError {
	if err := sdkNet.AuthorizeAndRespondOnFailNoPolicy(
		reqres.ShardPutResponse{}.Unauthorized(), spiffeid.PeerCanTalkToKeeper, w, r,
	); err != nil {
		return err
	}
	return sdkNet.RespondErrOnEmptyShard(
		request.Shard, reqres.ShardPutResponse{}.BadRequest(), w,
	)
}
