package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// openSecure opens n streams over TLS: with HTTP/1.1 each has a connection of its
// own, with HTTP/2 so many share one. A goroutine reads each connection.
func (r *readers) openSecure(address string, n int, path string, over transport) error {
	for opened := 0; opened < n; {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+opened/16000), 1)}
		raw, err := (&net.Dialer{LocalAddr: from, Timeout: 20 * time.Second}).Dial("tcp4", "127.0.0.1"+address[strings.LastIndex(address, ":"):]) //nolint:noctx // a timeout
		if err != nil {
			return fmt.Errorf("connecting stream %d: %w", opened, err)
		}
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"} //nolint:gosec // its own certificate
		if over.streams > 0 {
			config.NextProtos = []string{"h2"}
		}
		conn := tls.Client(raw, config)
		r.conns = append(r.conns, conn)
		share := min(max(1, over.streams), n-opened)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		in := bufio.NewReaderSize(conn, 16<<10)
		streams := make(map[uint32]*reading)
		for i := range share {
			streams[uint32(2*i+1)] = &reading{sample: (opened+i)%max(1, n/samplers) == 0, tail: [3]byte{2: '\n'}}
		}
		if over.streams > 0 {
			err = openFrames(conn, in, address, path, share)
		} else {
			err = openSecureOne(conn, in, address, path)
		}
		if err != nil {
			return fmt.Errorf("stream %d: %w", opened, err)
		}
		_ = conn.SetReadDeadline(time.Time{})
		opened += share
		r.done.Add(1)
		go func() {
			defer r.done.Done()
			if over.streams > 0 {
				r.readFrames(conn, in, streams)
			} else {
				r.readSecure(in, streams[1])
			}
			if !r.stop.Load() {
				r.closed.Add(int64(share))
			}
		}()
	}
	return nil
}

func openSecureOne(conn net.Conn, in *bufio.Reader, address, path string) error {
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+address+"\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		return err
	}
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if first && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			return fmt.Errorf("answered %q", line)
		}
		if line == "\r\n" {
			return nil
		}
	}
}

// readSecure reads one HTTP/1.1 stream to its end.
func (r *readers) readSecure(in io.Reader, s *reading) {
	buf := make([]byte, 3+16<<10)
	for {
		n, err := in.Read(buf[3:])
		if n > 0 {
			r.got(s, buf, n)
		}
		if err != nil {
			return
		}
	}
}

// openFrames begins HTTP/2 with windows that are never used up.
func openFrames(conn net.Conn, in *bufio.Reader, authority, path string, n int) error {
	const window = 1<<31 - 1
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, in)
	var block bytes.Buffer
	head := hpack.NewEncoder(&block)
	err := errors.Join(framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}),
		framer.WriteWindowUpdate(0, window-65535))
	for i := range n {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", authority}, {":path", path}, {"accept", "text/event-stream"}} {
			err = errors.Join(err, head.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
		}))
	}
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for answered := 0; err == nil && answered < n; {
		var f http2.Frame
		if f, err = framer.ReadFrame(); err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "200" {
				return fmt.Errorf("answered %s", status)
			}
			answered++
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return fmt.Errorf("answered %v", f)
		}
	}
	return err
}

// readFrames reads one HTTP/2 connection to its end.
func (r *readers) readFrames(conn net.Conn, in *bufio.Reader, streams map[uint32]*reading) {
	var head [9]byte
	buf := make([]byte, 3+1<<17)
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if n > len(buf)-3 {
			return
		}
		if _, err := io.ReadFull(in, buf[3:3+n]); err != nil {
			return
		}
		switch http2.FrameType(head[3]) {
		case http2.FrameData:
			if s := streams[binary.BigEndian.Uint32(head[5:])]; s != nil && n > 0 {
				r.got(s, buf, n)
			}
		case http2.FramePing:
			if head[4]&1 == 0 {
				head[4] = 1
				_, _ = conn.Write(append(head[:], buf[3:3+n]...))
			}
		case http2.FrameRSTStream, http2.FrameGoAway:
			return
		}
	}
}
