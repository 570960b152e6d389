// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"github.com/spiffe/spike-sdk-go/api/entity/v1/reqres"
	"github.com/spiffe/spike-sdk-go/api/url"
	"github.com/spiffe/spike-sdk-go/config/env"
	sdkNet "github.com/spiffe/spike-sdk-go/net"
	"github.com/spiffe/spike-sdk-go/predicate"
	"github.com/spiffe/spike-sdk-go/spiffe"
	"github.com/spiffe/spike-sdk-go/spiffeid"
)

// What SPIKE's own programs wait between two rounds over the keepers: it doubles.
const firstPollPause = time.Second

// hostKeeper is one keeper on a host of its own, as SPIKE's program is: its settings are SPIKE's
// variables, its identity comes from the Workload API, its audit lines go to its output. It ends
// with its process.
func hostKeeper() error {
	source, err := ownSource(spiffeid.IsKeeper)
	if err != nil {
		return err
	}
	k := &keeper{}
	sdkNet.ServeWithRoute(
		"keeper", source, k.route, predicate.AllowKeeperPeer, env.KeeperTLSPortVal(),
	)
	return errors.New("the server has ended")
}

// hostNexus is one Nexus on a host of its own, in the same way: it asks the keepers of
// SPIKE_NEXUS_KEEPER_PEERS for their shards until it has its root key, writes a database that only
// this key opens, and pushes the shards back at SPIKE's update interval.
func hostNexus() error {
	source, err := ownSource(spiffeid.IsNexus)
	if err != nil {
		return err
	}
	remote := &remoteKeepers{
		client: sdkNet.CreateMTLSClientForKeeper(source), urls: env.KeepersVal(),
	}
	database, err := openDatabase(os.Getenv(env.NexusDataDir))
	if err != nil {
		return err
	}
	n := newNexus(func(parts shards) { go remote.giveAll(parts) })
	go func() {
		if err := n.live(remote, database); err != nil {
			fmt.Fprintln(os.Stderr, "gospike:", err)
			os.Exit(1)
		}
	}()
	// Anyone may connect to Nexus, as in SPIKE: each route has its own guard.
	sdkNet.ServeWithRoute("nexus", source, n.route, predicate.AllowAll, env.NexusTLSPortVal())
	return errors.New("the server has ended")
}

// ownSource is the identity that the agent gives this process, which must be the program's own.
func ownSource(isOwn func(string) bool) (*workloadapi.X509Source, error) {
	ctx, cancel := context.WithTimeout(context.Background(), env.SPIFFESourceTimeoutVal())
	defer cancel()
	source, id, err := spiffe.Source(ctx, spiffe.EndpointSocket())
	if err != nil {
		return nil, fmt.Errorf("no identity from %s: %w", spiffe.EndpointSocket(), err)
	}
	if !isOwn(id) {
		return nil, fmt.Errorf("%s is not the SPIFFE ID of this server", id)
	}
	return source, nil
}

// live rebuilds the root key from the keepers' shards, then keeps the keepers supplied with them.
func (n *nexus) live(remote *remoteKeepers, database *database) error {
	for pause := firstPollPause; !n.isReady(); {
		for _, id := range remote.shuffled() {
			shard, held := remote.fetch(id)
			if !held || !n.collect(id, shard) {
				continue
			}
			break
		}
		select {
		case <-n.awaited():
		case <-time.After(pause):
			pause = min(2*pause, env.RecoveryOperationMaxIntervalVal())
		}
	}
	rootKey, _ := n.key()
	switch err := database.open(rootKey); {
	case err != nil && n.isRestored():
		// A restored Nexus goes on with the key that operators gave it.
		fmt.Fprintln(os.Stderr, "gospike:", err)
	case err != nil:
		return err
	}
	return n.push(remote)
}

func (n *nexus) push(remote *remoteKeepers) error {
	for {
		time.Sleep(env.RecoveryKeeperUpdateIntervalVal())
		rootKey, _ := n.key()
		parts, err := split(rootKey)
		if err != nil {
			return err
		}
		remote.giveAll(parts)
	}
}

// remoteKeepers are Nexus's keepers on their hosts; the keys of urls are their ids.
type remoteKeepers struct {
	client *http.Client
	urls   map[string]string
}

func (r *remoteKeepers) shuffled() []uint64 {
	var ids []uint64
	for name := range r.urls {
		if id, err := strconv.ParseUint(name, 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids
}

func (r *remoteKeepers) fetch(id uint64) (scalar, bool) {
	var answer reqres.ShardGetResponse
	if !r.post(id, url.KeeperShard, reqres.ShardGetRequest{}, &answer) || answer.Shard == nil {
		return scalar{}, false
	}
	return scalar(*answer.Shard), true
}

func (r *remoteKeepers) give(id uint64, shard scalar) {
	value := [32]byte(shard)
	var answer reqres.ShardPutResponse
	r.post(id, url.KeeperContribute, reqres.ShardPutRequest{Shard: &value}, &answer)
}

func (r *remoteKeepers) giveAll(parts shards) {
	for id, shard := range parts {
		r.give(id, shard)
	}
}

// post asks one keeper. A keeper that is away is asked again in the next round.
func (r *remoteKeepers) post(id uint64, path url.APIURL, request, answer any) bool {
	body, err := json.Marshal(request)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	address := r.urls[strconv.FormatUint(id, 10)] + string(path)
	reply, postErr := sdkNet.Post(ctx, r.client, address, body)
	return postErr == nil && json.Unmarshal(reply, answer) == nil
}

// database stands for Nexus's: a file that only the root key opens with which it was made.
type database struct {
	path string
}

var databaseText = []byte("what only one root key opens")

// openDatabase makes the directory as SPIKE does, for its user alone.
func openDatabase(directory string) (*database, error) {
	if directory == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		directory = filepath.Join(home, ".spike")
	}
	directory = filepath.Join(directory, "data")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	return &database{path: filepath.Join(directory, "spike.db")}, nil
}

// open makes the database, or fails where another key has made it.
func (d *database) open(rootKey scalar) error {
	block, err := aes.NewCipher(rootKey[:])
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	// One text under one key: a nonce of zeros is used once.
	nonce := make([]byte, aead.NonceSize())
	content, err := os.ReadFile(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return os.WriteFile(d.path, aead.Seal(nil, nonce, databaseText, nil), 0o600)
	}
	if err != nil {
		return err
	}
	if _, err := aead.Open(nil, nonce, content, nil); err != nil {
		return errors.New("the database is not of this root key")
	}
	return nil
}
