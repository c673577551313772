// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// notifying names what this program is to be in a case: "send", in a container,
// which says that it is ready (sd_notify(3)), or "hear", whom it is said to, and
// who writes down what is said until then. Both at $NOTIFY_SOCKET.
const notifying = "VITRO_ENGINES_NOTIFY"

func notify(part string) error {
	addr := &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"}
	if part == "send" {
		conn, err := net.DialUnix("unixgram", nil, addr)
		if err == nil {
			_, err = conn.Write([]byte("READY=1"))
		}
		return err
	}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(caseLimit / 2)); err != nil {
		return err
	}
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			fmt.Println("nothing more was said")
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", buf[:n])
		if strings.Contains(string(buf[:n]), "READY=1") {
			return nil
		}
	}
}
