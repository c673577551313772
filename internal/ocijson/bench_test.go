// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// coldVariable makes the test binary decode a file once and print how long that
// took: BenchmarkColdStart starts itself so.
const coldVariable = "OCIJSON_TEST_COLD"

func TestMain(m *testing.M) {
	if which := os.Getenv(coldVariable); which != "" {
		coldStart(which)
		return
	}
	m.Run()
}

func coldStart(which string) {
	data, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		panic(err)
	}
	start := time.Now()
	if which == "generated" {
		_, err = DecodeSpec(data)
	} else {
		err = json.Unmarshal(data, new(specs.Spec))
	}
	took := time.Since(start)
	if err != nil {
		panic(err)
	}
	fmt.Print(took.Nanoseconds())
}

// BenchmarkColdStart reports the first decoding in a fresh process, which is
// all that a container's start pays for; the best of 40 processes.
func BenchmarkColdStart(b *testing.B) {
	for _, which := range []string{"generated", "encoding-json"} {
		b.Run(which, func(b *testing.B) {
			best := math.Inf(1)
			for range 40 {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), coldVariable+"="+which)
				out, err := cmd.Output()
				if err != nil {
					b.Fatal(err)
				}
				ns, err := strconv.ParseFloat(string(out), 64)
				if err != nil {
					b.Fatal(err)
				}
				best = min(best, ns)
			}
			b.ReportMetric(best, "ns/first-decode")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkDecodeSpec(b *testing.B) {
	data := readTestdata(b, "docker-config.json")
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeSpec(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(data, new(specs.Spec)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendSpec(b *testing.B) {
	s, err := DecodeSpec(readTestdata(b, "docker-config.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendSpec(buf[:0], s)
	}
}
