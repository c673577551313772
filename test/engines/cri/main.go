// SPDX-License-Identifier: Apache-2.0

// Command cri calls one method of the Container Runtime Interface, which is
// how Kubernetes speaks to containerd.
//
//	cri SOCKET METHOD REQUEST [FIELD]
//
// The request is JSON, with the names of the interface's own description. It
// prints the response, or one field of it: a string or bytes as they are.
//
// Not for people: crictl is.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1" // registers the descriptions of CRI's messages
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: cri SOCKET METHOD REQUEST [FIELD]")
		os.Exit(2)
	}
	field := ""
	if len(os.Args) > 4 {
		field = os.Args[4]
	}
	text, err := call(os.Args[1], os.Args[2], os.Args[3], field)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(1)
	}
	os.Stdout.Write(text)
}

func call(socket, method, request, field string) ([]byte, error) {
	var m protoreflect.MethodDescriptor
	for _, service := range [...]protoreflect.FullName{"runtime.v1.RuntimeService", "runtime.v1.ImageService"} {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(service + "." + protoreflect.FullName(method))
		if found, ok := d.(protoreflect.MethodDescriptor); err == nil && ok {
			m = found
		}
	}
	if m == nil {
		return nil, fmt.Errorf("call %s: CRI has no such method", method)
	}
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	if err := conn.Invoke(ctx, path, in, out); err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	return show(out, field)
}

// show is a response, or one of its fields, as text.
func show(m proto.Message, field string) ([]byte, error) {
	if field == "" {
		return compact(m)
	}
	r := m.ProtoReflect()
	d := r.Descriptor().Fields().ByName(protoreflect.Name(field))
	switch {
	case d == nil:
		return nil, fmt.Errorf("show field %q: the response has none of this name", field)
	case d.Kind() == protoreflect.BytesKind:
		return r.Get(d).Bytes(), nil
	case d.Kind() == protoreflect.MessageKind && !d.IsList() && !d.IsMap():
		return compact(r.Get(d).Message().Interface())
	}
	return []byte(r.Get(d).String() + "\n"), nil
}

// compact is JSON without the spaces that protojson adds at random.
func compact(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{EmitUnpopulated: true, UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, text)
	return append(out.Bytes(), '\n'), err
}
