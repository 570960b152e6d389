// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptoRand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// agent stands for SPIRE's: it attests a caller by its process, as SPIRE's unix attestor does, and
// issues what the entries of its store say. Server and agents share the store and the authority.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	id        string
	store     entryStore
	authority *x509.Certificate
	key       any
}

// hostAgent serves the Workload API until its process ends.
func hostAgent(arguments []string) error {
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	socket := flags.String("socket", "/run/spire/agent.sock", "where the Workload API is served")
	id := flags.String("id", "", "the SPIFFE ID of this agent")
	store := flags.String("store", "", "the file of the entries")
	certPath := flags.String("ca-cert", "", "the authority's certificate, PEM")
	keyPath := flags.String("ca-key", "", "the authority's PKCS#8 key, PEM")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	a := &agent{id: *id, store: entryStore{path: *store}}
	if err := a.loadAuthority(*certPath, *keyPath); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*socket), 0o755); err != nil {
		return err
	}
	if err := os.Remove(*socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(*socket, 0o777); err != nil {
		return err
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	return server.Serve(attestingListener{listener})
}

func (a *agent) loadAuthority(certPath, keyPath string) error {
	cert, err := pemContent(certPath)
	if err != nil {
		return err
	}
	if a.authority, err = x509.ParseCertificate(cert); err != nil {
		return err
	}
	key, err := pemContent(keyPath)
	if err != nil {
		return err
	}
	a.key, err = x509.ParsePKCS8PrivateKey(key)
	return err
}

func pemContent(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", path)
	}
	return block.Bytes, nil
}

// FetchX509SVID implements the Workload API: the caller's SVIDs, and new ones at half of their
// life or when the entries change.
func (a *agent) FetchX509SVID(
	_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse],
) error {
	if err := checkHeader(stream.Context()); err != nil {
		return err
	}
	selectors, err := callersSelectors(stream.Context())
	if err != nil {
		return err
	}
	var sent []entry
	var renewal time.Time
	for {
		entries, err := a.store.matching(a.id, selectors)
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		if len(entries) == 0 {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if time.Now().After(renewal) || !slices.EqualFunc(sent, entries, entry.equal) {
			response, life, err := a.issueAll(entries)
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			if err := stream.Send(response); err != nil {
				return err
			}
			sent, renewal = entries, time.Now().Add(life/2)
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// FetchX509Bundles implements the Workload API.
func (a *agent) FetchX509Bundles(
	_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse],
) error {
	if err := checkHeader(stream.Context()); err != nil {
		return err
	}
	trustDomain := a.authority.URIs[0].Host
	if err := stream.Send(&workload.X509BundlesResponse{
		Bundles: map[string][]byte{"spiffe://" + trustDomain: a.authority.Raw},
	}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func checkHeader(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if !slices.Equal(md.Get("workload.spiffe.io"), []string{"true"}) {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	return nil
}

func (a *agent) issueAll(entries []entry) (*workload.X509SVIDResponse, time.Duration, error) {
	response := &workload.X509SVIDResponse{}
	life := time.Hour
	for _, e := range entries {
		lasts := time.Duration(e.X509SVIDTTL) * time.Second
		if lasts == 0 {
			lasts = time.Hour
		}
		svid, err := a.issue(e.SPIFFEID.String(), lasts)
		if err != nil {
			return nil, 0, err
		}
		response.Svids = append(response.Svids, svid)
		life = min(life, lasts)
	}
	return response, life, nil
}

func (a *agent) issue(id string, life time.Duration) (*workload.X509SVID, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptoRand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := cryptoRand.Int(cryptoRand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(id)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Country: []string{"US"}, Organization: []string{"SPIRE"}},
		NotBefore:             time.Now().Add(-10 * time.Second),
		NotAfter:              time.Now().Add(life),
		URIs:                  []*url.URL{uri},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(
		cryptoRand.Reader, template, a.authority, key.Public(), a.key,
	)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &workload.X509SVID{
		SpiffeId: id, X509Svid: cert, X509SvidKey: keyDER, Bundle: a.authority.Raw,
	}, nil
}

// attestingListener gives each connection the address of its caller's process.
type attestingListener struct {
	net.Listener
}

type attestedConn struct {
	net.Conn
	caller callerAddr
}

// callerAddr is who has opened a connection (unix(7), SO_PEERCRED).
type callerAddr struct {
	uid, gid uint32
	pid      int32
}

func (callerAddr) Network() string  { return "unix" }
func (c callerAddr) String() string { return fmt.Sprintf("uid %d, process %d", c.uid, c.pid) }

func (c attestedConn) RemoteAddr() net.Addr { return c.caller }

func (l attestingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		raw, err := conn.(*net.UnixConn).SyscallConn()
		if err != nil {
			return nil, err
		}
		var credentials *syscall.Ucred
		var failed error
		if err := raw.Control(func(fd uintptr) {
			credentials, failed = syscall.GetsockoptUcred(
				int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED,
			)
		}); err != nil || failed != nil {
			_ = conn.Close()
			continue
		}
		return attestedConn{conn, callerAddr{credentials.Uid, credentials.Gid, credentials.Pid}}, nil
	}
}

// callersSelectors are those of SPIRE's unix attestor.
func callersSelectors(ctx context.Context) ([]string, error) {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil, status.Error(codes.Internal, "a caller without an address")
	}
	caller, ok := from.Addr.(callerAddr)
	if !ok {
		return nil, status.Error(codes.Internal, "a caller without an address")
	}
	uid, gid := strconv.Itoa(int(caller.uid)), strconv.Itoa(int(caller.gid))
	selectors := []string{"unix:uid:" + uid, "unix:gid:" + gid}
	if account, err := user.LookupId(uid); err == nil {
		selectors = append(selectors, "unix:user:"+account.Username)
	}
	if group, err := user.LookupGroupId(gid); err == nil {
		selectors = append(selectors, "unix:group:"+group.Name)
	}
	if digest, err := digestOf(fmt.Sprintf("/proc/%d/exe", caller.pid)); err == nil {
		selectors = append(selectors, "unix:sha256:"+digest)
	}
	return selectors, nil
}

func digestOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", err
	}
	return strings.ToLower(hex.EncodeToString(digest.Sum(nil))), nil
}
