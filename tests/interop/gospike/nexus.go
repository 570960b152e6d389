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

// nexus is a SPIKE Nexus: it rebuilds the root key from its keepers' shards, once, unless operators
// give it one, see operator.go.
type nexus struct {
	// supply sends every keeper its shard of a root key that operators have given.
	supply func(parts shards)

	mu sync.Mutex
	// ready is closed when the root key is there.
	ready   chan struct{}
	rootKey scalar
	// collected are the shards of keepers, restored those of operators.
	collected, restored shards
	requests            int
}

// nexusState is what Nexus tells about itself: never its key.
type nexusState struct {
	Ready bool `json:"ready"`
	// RootKeySHA256 is empty until Nexus is ready.
	RootKeySHA256 string `json:"root_key_sha256"`
	Requests      int    `json:"requests"`
}

func newNexus(supply func(parts shards)) *nexus {
	n := &nexus{supply: supply}
	n.forget()
	return n
}

// forget is what a restart does to Nexus's memory.
func (n *nexus) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready, n.rootKey = make(chan struct{}), scalar{}
	n.collected, n.restored = make(shards), make(shards)
}

// key is the root key, and whether there is one.
func (n *nexus) key() (scalar, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rootKey, n.rootKey != (scalar{})
}

func (n *nexus) isReady() bool {
	_, ready := n.key()
	return ready
}

// awaited is closed when there is a root key.
func (n *nexus) awaited() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

// await returns when there is a root key, and after the time at the latest.
func (n *nexus) await(most time.Duration) {
	select {
	case <-n.awaited():
	case <-time.After(most):
	}
}

// hold makes Nexus live on a root key, whichever it had before. The caller has locked mu.
func (n *nexus) hold(rootKey scalar) {
	if n.rootKey == (scalar{}) {
		close(n.ready)
	}
	n.rootKey = rootKey
}

func (n *nexus) state() nexusState {
	rootKey, ready := n.key()
	n.mu.Lock()
	defer n.mu.Unlock()
	state := nexusState{Ready: ready, Requests: n.requests}
	if ready {
		digest := sha256.Sum256(rootKey[:])
		state.RootKeySHA256 = hex.EncodeToString(digest[:])
	}
	return state
}

// poll asks the keepers for their shards until they give a root key, and again after a restart.
//
// As in SPIKE, shards of earlier rounds are kept, keepers are asked in random order, and the key
// is rebuilt as soon as there is a threshold of shards: of two root keys delivered one after the
// other it can make a third.
func (n *nexus) poll(keepers []*keeper, every time.Duration) {
	for ; ; time.Sleep(every) {
		for _, i := range rand.Perm(len(keepers)) {
			if n.isReady() {
				break
			}
			if shard, held := keepers[i].held(); held {
				n.collect(keepers[i].id, shard)
			}
		}
	}
}

// collect takes the shard of a keeper, and the root key that all of them give, and says whether
// they give one.
func (n *nexus) collect(id uint64, shard scalar) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.collected[id] = shard
	if len(n.collected) < env.ShamirThresholdVal() || n.rootKey != (scalar{}) {
		return n.rootKey != (scalar{})
	}
	rootKey, err := recoverRootKey(n.collected, slices.Collect(maps.Keys(n.collected)))
	if err != nil || rootKey == (scalar{}) {
		return false
	}
	n.hold(rootKey)
	return true
}

func (n *nexus) route(
	w http.ResponseWriter, r *http.Request, audit *journal.AuditEntry,
) *sdkErrors.SDKError {
	n.mu.Lock()
	n.requests++
	n.mu.Unlock()

	action := url.APIAction(r.URL.Query().Get(url.KeyAPIAction))
	emergency := r.URL.Path == string(url.NexusOperatorRecover) ||
		r.URL.Path == string(url.NexusOperatorRestore)
	if !emergency && !n.isReady() {
		return sdkNet.NotReady(w, r, audit)
	}
	return sdkNet.RouteFactory(url.APIURL(r.URL.Path), action, r.Method, n.handler)(w, r, audit)
}

func (n *nexus) handler(action url.APIAction, path url.APIURL) sdkNet.Handler {
	if path == url.NexusBootstrapVerify && action == url.ActionDefault {
		return n.verify
	}
	if path == url.NexusOperatorRecover && action == url.ActionDefault {
		return n.recoverShards
	}
	if path == url.NexusOperatorRestore && action == url.ActionDefault {
		return n.restore
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
	rootKey, _ := n.key()
	block, err := aes.NewCipher(rootKey[:])
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
