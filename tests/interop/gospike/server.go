// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/spike-sdk-go/config/env"
	"github.com/spiffe/spike-sdk-go/journal"
	sdkNet "github.com/spiffe/spike-sdk-go/net"
	"github.com/spiffe/spike-sdk-go/predicate"
)

// identity is who a server is, and whom it believes.
type identity struct {
	svid   *x509svid.SVID
	bundle *x509bundle.Bundle
}

// loadIdentity refuses, as SPIKE's servers do, an SVID that is not the server's own.
func loadIdentity(
	files svidFiles, bundle *x509bundle.Bundle, isOwn func(string) bool,
) (identity, error) {
	svid, err := x509svid.Load(files.Cert, files.Key)
	if err != nil {
		return identity{}, err
	}
	if !isOwn(svid.ID.String()) {
		return identity{}, fmt.Errorf("%s is not the SPIFFE ID of this server", svid.ID)
	}
	return identity{svid: svid, bundle: bundle}, nil
}

// listen serves on a free loopback port and returns the server's URL. It does what the SDK's
// CreateMTLSServerWithPredicate does, which takes its SVID from a Workload API only.
func (i identity) listen(allow predicate.Predicate, route sdkNet.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler:           audited(route),
		TLSConfig:         tlsconfig.MTLSServerConfig(i.svid, i.bundle, sdkNet.AuthorizerWithPredicate(allow)),
		ReadHeaderTimeout: env.HTTPServerReadHeaderTimeoutVal(),
	}
	go func() {
		// The listener lives as long as the process: an end before is a fault, and its clients
		// see it.
		fmt.Fprintln(os.Stderr, "gospike:", server.ServeTLS(listener, "", ""))
	}()
	return "https://" + listener.Addr().String(), nil
}

// audited gives a route the audit entry that the SDK's HandleRoute would, which knows only one
// server in a process.
func audited(route sdkNet.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = route(w, r, &journal.AuditEntry{
			Timestamp: time.Now(),
			Path:      r.URL.Path,
			State:     journal.AuditEntryCreated,
		})
	})
}
