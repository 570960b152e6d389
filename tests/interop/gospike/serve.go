// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	goSpiffeID "github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spike-sdk-go/config/env"
	"github.com/spiffe/spike-sdk-go/predicate"
	"github.com/spiffe/spike-sdk-go/spiffeid"
)

// serveMessage is the first message to "gospike serve"; commandMessage is each one after it.
type serveMessage struct {
	Keepers   int `json:"keepers"`
	Threshold int `json:"threshold"`
	// TrustDomain is everybody's.
	TrustDomain string    `json:"trust_domain"`
	Keeper      svidFiles `json:"keeper"`
	Nexus       svidFiles `json:"nexus"`
	// Bundle is the path of the trust domain's bundle, in PEM.
	Bundle string `json:"bundle"`
	// NexusPoll is the number of seconds between two rounds of Nexus over its keepers.
	NexusPoll float64 `json:"nexus_poll"`
	// Lifetime is the number of seconds after which the process ends in any case.
	Lifetime float64 `json:"lifetime"`
}

// svidFiles are the paths of an SVID's chain and of its PKCS#8 key, in PEM.
type svidFiles struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// servedAnswer is the answer to a serveMessage: everything listens.
type servedAnswer struct {
	Keepers []string `json:"keepers"`
	Nexus   string   `json:"nexus"`
}

// commandMessage is "state", answered at once, "await_ready", answered when Nexus has its root key
// and after Seconds at the latest, or "restart", after which nobody remembers anything; each with a
// stateAnswer. "await_key" is answered when "await_ready" is, with a nexusState: no time is spent on
// what the keepers have.
type commandMessage struct {
	Cmd     string  `json:"cmd"`
	Seconds float64 `json:"seconds"`
}

type stateAnswer struct {
	Keepers []keeperState `json:"keepers"`
	Nexus   nexusState    `json:"nexus"`
	// Consistent: see cluster.consistent.
	Consistent bool `json:"consistent"`
}

func serve(conversation *talk) error {
	config := serveMessage{TrustDomain: "spike.ist", NexusPoll: 0.2, Lifetime: 120}
	if err := conversation.messages.Decode(&config); err != nil {
		return fmt.Errorf("a configuration that cannot be read: %w", err)
	}
	time.AfterFunc(seconds(config.Lifetime), func() {
		fmt.Fprintln(os.Stderr, "gospike: the lifetime is over")
		os.Exit(1)
	})
	spike, served, err := startCluster(config)
	if err != nil {
		return err
	}
	if err := conversation.answers.Encode(served); err != nil {
		return err
	}
	return answerAll(conversation, spike.answer)
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}

// cluster is a whole SPIKE.
type cluster struct {
	keepers []*keeper
	nexus   *nexus
}

func startCluster(config serveMessage) (*cluster, servedAnswer, error) {
	var served servedAnswer
	if err := errors.Join(
		configureSplit(config.Threshold, config.Keepers),
		os.Setenv(env.TrustRootKeeper, config.TrustDomain),
		os.Setenv(env.TrustRootNexus, config.TrustDomain),
		os.Setenv(env.TrustRootBootstrap, config.TrustDomain),
		os.Setenv(env.TrustRootPilot, config.TrustDomain),
	); err != nil {
		return nil, served, err
	}
	trustDomain, err := goSpiffeID.TrustDomainFromString(config.TrustDomain)
	if err != nil {
		return nil, served, err
	}
	bundle, err := x509bundle.Load(trustDomain, config.Bundle)
	if err != nil {
		return nil, served, err
	}
	keeperIdentity, err := loadIdentity(config.Keeper, bundle, spiffeid.IsKeeper)
	if err != nil {
		return nil, served, err
	}
	nexusIdentity, err := loadIdentity(config.Nexus, bundle, spiffeid.IsNexus)
	if err != nil {
		return nil, served, err
	}

	spike := &cluster{}
	spike.nexus = newNexus(spike.supply)
	for id := range config.Keepers {
		k := &keeper{id: uint64(id) + 1}
		url, err := keeperIdentity.listen(predicate.AllowKeeperPeer, k.route)
		if err != nil {
			return nil, served, err
		}
		spike.keepers = append(spike.keepers, k)
		served.Keepers = append(served.Keepers, url)
	}
	// Anyone may connect to Nexus, as in SPIKE: each route has its own guard.
	if served.Nexus, err = nexusIdentity.listen(predicate.AllowAll, spike.nexus.route); err != nil {
		return nil, served, err
	}
	go spike.nexus.poll(spike.keepers, seconds(config.NexusPoll))
	return spike, served, nil
}

func (c *cluster) answer(command commandMessage) (any, error) {
	switch command.Cmd {
	case "state":
		return c.state(), nil
	case "await_ready":
		c.nexus.await(seconds(command.Seconds))
		return c.state(), nil
	case "await_key":
		c.nexus.await(seconds(command.Seconds))
		return c.nexus.state(), nil
	case "restart":
		for _, k := range c.keepers {
			k.forget()
		}
		c.nexus.forget()
		return c.state(), nil
	}
	return nil, fmt.Errorf("no such command: %q", command.Cmd)
}

// supply gives the keepers the shards of a key that operators have given Nexus.
func (c *cluster) supply(parts shards) {
	for _, k := range c.keepers {
		k.take(parts[k.id])
	}
}

func (c *cluster) state() stateAnswer {
	state := stateAnswer{Nexus: c.nexus.state(), Consistent: c.consistent()}
	for _, k := range c.keepers {
		state.Keepers = append(state.Keepers, k.state())
	}
	return state
}

// consistent says whether the keepers' shards are those of one root key, split as SPIKE splits
// it, so that Nexus may rebuild the key from any of them, also after its next push to some:
// there is a threshold of them, each belongs to a window of threshold shards that recovers the
// same key, that key is the one Nexus has if it has one, and each is to the byte the shard that
// the SDK makes of that key.
func (c *cluster) consistent() bool {
	threshold := env.ShamirThresholdVal()
	held := make(shards, len(c.keepers))
	var ids []uint64
	for _, k := range c.keepers {
		if shard, ok := k.held(); ok {
			held[k.id] = shard
			ids = append(ids, k.id)
		}
	}
	if len(ids) < threshold {
		return false
	}

	rootKey, err := recoverRootKey(held, ids)
	nexusKey, ready := c.nexus.key()
	if err != nil || ready && rootKey != nexusKey {
		return false
	}
	for window := range slices.Chunk(ids, threshold) {
		if len(window) < threshold {
			window = ids[len(ids)-threshold:]
		}
		if other, err := recoverRootKey(held, window); err != nil || other != rootKey {
			return false
		}
	}

	expected, err := split(rootKey)
	if err != nil {
		return false
	}
	for id, shard := range held {
		if expected[id] != shard {
			return false
		}
	}
	return true
}
