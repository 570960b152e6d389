// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/spike-sdk-go/api/entity/v1/reqres"
	"github.com/spiffe/spike-sdk-go/api/url"
	"github.com/spiffe/spike-sdk-go/config/env"
	sdkErrors "github.com/spiffe/spike-sdk-go/errors"
	"github.com/spiffe/spike-sdk-go/journal"
	sdkNet "github.com/spiffe/spike-sdk-go/net"
	"github.com/spiffe/spike-sdk-go/spiffeid"
)

// nexus is a SPIKE Nexus: it rebuilds the root key from its keepers' shards, once.
type nexus struct {
	// ready is closed when the root key is there; rootKey never changes after that.
	ready   chan struct{}
	rootKey scalar

	mu       sync.Mutex
	requests int
}

// nexusState is what Nexus tells about itself: never its key.
type nexusState struct {
	Ready bool `json:"ready"`
	// RootKeySHA256 is empty until Nexus is ready.
	RootKeySHA256 string `json:"root_key_sha256"`
	Requests      int    `json:"requests"`
}

func newNexus() *nexus {
	return &nexus{ready: make(chan struct{})}
}

func (n *nexus) isReady() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

func (n *nexus) state() nexusState {
	n.mu.Lock()
	defer n.mu.Unlock()
	state := nexusState{Ready: n.isReady(), Requests: n.requests}
	if state.Ready {
		digest := sha256.Sum256(n.rootKey[:])
		state.RootKeySHA256 = hex.EncodeToString(digest[:])
	}
	return state
}

// poll asks the keepers for their shards until they give a root key.
//
// As in SPIKE, shards of earlier rounds are kept, keepers are asked in random order, and the key
// is rebuilt as soon as there is a threshold of shards: of two root keys delivered one after the
// other it can make a third.
func (n *nexus) poll(keepers []*keeper, every time.Duration) {
	collected := make(shards, len(keepers))
	for {
		for _, i := range rand.Perm(len(keepers)) {
			shard, held := keepers[i].held()
			if !held {
				continue
			}
			collected[keepers[i].id] = shard
			if n.rebuild(collected) {
				return
			}
		}
		time.Sleep(every)
	}
}

// rebuild takes the root key that the collected shards give, and says whether they give one.
func (n *nexus) rebuild(collected shards) bool {
	if len(collected) < env.ShamirThresholdVal() {
		return false
	}
	rootKey, err := recoverRootKey(collected, slices.Collect(maps.Keys(collected)))
	if err != nil || rootKey == (scalar{}) {
		return false
	}
	n.rootKey = rootKey
	close(n.ready)
	return true
}

func (n *nexus) route(
	w http.ResponseWriter, r *http.Request, audit *journal.AuditEntry,
) *sdkErrors.SDKError {
	n.mu.Lock()
	n.requests++
	n.mu.Unlock()

	if !n.isReady() {
		return sdkNet.NotReady(w, r, audit)
	}
	action := url.APIAction(r.URL.Query().Get(url.KeyAPIAction))
	return sdkNet.RouteFactory(url.APIURL(r.URL.Path), action, r.Method, n.handler)(w, r, audit)
}

func (n *nexus) handler(action url.APIAction, path url.APIURL) sdkNet.Handler {
	if path == url.NexusBootstrapVerify && action == url.ActionDefault {
		return n.verify
	}
	return sdkNet.Fallback
}

func (n *nexus) verify(
	w http.ResponseWriter, r *http.Request, _ *journal.AuditEntry,
) *sdkErrors.SDKError {
	request, err := sdkNet.ReadParseAndGuard(
		w, r, reqres.BootstrapVerifyResponse{}.BadRequest(), guardVerify,
	)
	if err != nil {
		return err
	}
	plaintext, openErr := n.open(request.Nonce, request.Ciphertext)
	if openErr != nil {
		return sdkNet.RespondWithInternalError(
			sdkErrors.ErrCryptoDecryptionFailed.Wrap(openErr), w, reqres.BootstrapVerifyResponse{},
		)
	}
	digest := sha256.Sum256(plaintext)
	return sdkNet.Success(
		reqres.BootstrapVerifyResponse{Hash: hex.EncodeToString(digest[:])}.Success(), w,
	)
}

func (n *nexus) open(nonce, ciphertext []byte) ([]byte, error) {
	block, err := aes.NewCipher(n.rootKey[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nonce, ciphertext, nil)
}

func guardVerify(
	request reqres.BootstrapVerifyRequest, w http.ResponseWriter, r *http.Request,
) *sdkErrors.SDKError {
	if err := sdkNet.AuthorizeAndRespondOnFailNoPolicy(
		reqres.BootstrapVerifyResponse{}.Unauthorized(), spiffeid.IsBootstrap, w, r,
	); err != nil {
		return err
	}
	badRequest := reqres.BootstrapVerifyResponse{}.BadRequest()
	if err := sdkNet.RespondCryptoErrOnInvalidNonceSize(request.Nonce, w, badRequest); err != nil {
		return err
	}
	return sdkNet.RespondCryptoErrOnLargeCipherText(request.Ciphertext, w, badRequest)
}
