// kubeclient drives Berth's streaming URLs with the client library of Kubernetes: what kubectl
// links, without an API server in between.
//
//	kubeclient exec|attach -url URL [-transport spdy|websocket] [-stdin] [-stderr] [-tty [-size WxH]] [-abort-after BYTES]
//	kubeclient portforward -url URL [-transport spdy|websocket] PORT…
//
// exec and attach join their own standard streams to the remote ones and end with the remote exit
// code. portforward prints "LOCAL REMOTE" for each port when it listens on 127.0.0.1:LOCAL, and ends
// when its standard input does, or with code 1 when the session is lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

type options struct {
	url        *url.URL
	transport  string
	stdin      bool
	stderr     bool
	tty        bool
	size       remotecommand.TerminalSize
	abortAfter int64
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: kubeclient exec|attach|portforward -url URL …"))
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	address := flags.String("url", "", "what the runtime answered")
	flags.StringVar(&o.transport, "transport", "spdy", "spdy or websocket")
	flags.BoolVar(&o.stdin, "stdin", false, "send standard input")
	flags.BoolVar(&o.stderr, "stderr", false, "receive standard error")
	flags.BoolVar(&o.tty, "tty", false, "a terminal")
	size := flags.String("size", "", "the terminal's size, as in 100x40")
	flags.Int64Var(&o.abortAfter, "abort-after", -1, "break the connection after so many bytes of output")
	_ = flags.Parse(os.Args[2:])
	var err error
	if o.url, err = url.Parse(*address); err != nil {
		fail(err)
	}
	if *size != "" {
		if _, err = fmt.Sscanf(*size, "%dx%d", &o.size.Width, &o.size.Height); err != nil {
			fail(fmt.Errorf("-size %s: %w", *size, err))
		}
	}
	switch os.Args[1] {
	case "exec", "attach":
		err = command(o)
	case "portforward":
		err = forward(o, flags.Args())
	default:
		err = fmt.Errorf("unknown subcommand %s", os.Args[1])
	}
	var exit exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitStatus())
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kubeclient:", err)
	os.Exit(255)
}

// config accepts whatever certificate the test's server has.
func config() *rest.Config {
	return &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

// oneSize is a terminal that never changes after its first size.
type oneSize struct {
	sizes chan remotecommand.TerminalSize
}

func (s oneSize) Next() *remotecommand.TerminalSize {
	size, more := <-s.sizes
	if !more {
		return nil
	}
	return &size
}

// abortingWriter leaves the process in mid-stream, as a killed client does.
type abortingWriter struct{ rest int64 }

func (w *abortingWriter) Write(data []byte) (int, error) {
	if w.rest -= int64(len(data)); w.rest <= 0 {
		os.Exit(0)
	}
	return len(data), nil
}

func command(o options) error {
	var executor remotecommand.Executor
	var err error
	if o.transport == "websocket" {
		executor, err = remotecommand.NewWebSocketExecutor(config(), "GET", o.url.String())
	} else {
		executor, err = remotecommand.NewSPDYExecutor(config(), "POST", o.url)
	}
	if err != nil {
		return err
	}
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: o.tty}
	if o.abortAfter >= 0 {
		streams.Stdout = &abortingWriter{o.abortAfter}
	}
	if o.stdin {
		streams.Stdin = os.Stdin
	}
	if o.stderr {
		streams.Stderr = os.Stderr
	}
	if o.tty && o.size.Width > 0 {
		sizes := make(chan remotecommand.TerminalSize, 1)
		sizes <- o.size
		close(sizes)
		streams.TerminalSizeQueue = oneSize{sizes}
	}
	return executor.StreamWithContext(context.Background(), streams)
}

func dialer(o options) (httpstream.Dialer, error) {
	if o.transport == "websocket" {
		return portforward.NewSPDYOverWebsocketDialer(o.url, config())
	}
	transport, upgrader, err := spdy.RoundTripperFor(config())
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", o.url), nil
}

func forward(o options, ports []string) error {
	dial, err := dialer(o)
	if err != nil {
		return err
	}
	// Local ports are free ones.
	for i, port := range ports {
		ports[i] = "0:" + port
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dial, []string{"127.0.0.1"}, ports, stop, ready, nil, os.Stderr)
	if err != nil {
		return err
	}
	go func() {
		<-ready
		forwarded, err := forwarder.GetPorts()
		if err != nil {
			fail(err)
		}
		for _, port := range forwarded {
			fmt.Println(port.Local, port.Remote)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}
