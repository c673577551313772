// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vitro/event"
	"vitro/format"
)

// Here the same facts are told to Docker's client, by an engine that is
// nothing but its answers, and to this package. Both must print the same bytes.

// A stream is an answer of many values.
type stream []any

// serve answers a client on a socket: the JSON for the end of a path.
func serve(t *testing.T, answers map[string]any) (socket string) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Ostype", "linux")
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/_ping" {
			return
		}
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
		v, ok := answers[path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			v = map[string]string{"message": "no answer for " + path}
		}
		list, many := v.(stream)
		if !many {
			list = stream{v}
		}
		for _, v := range list {
			_ = json.NewEncoder(w).Encode(v)
		}
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// docker runs Docker's client.
func docker(t *testing.T, socket string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir())
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if err != nil {
		t.Logf("docker %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out.String(), err
}

func needDocker(t *testing.T) {
	t.Helper()
	out, err := exec.Command("docker", "--version").Output()
	if err != nil {
		t.Skip("needs docker, the client")
	}
	if major := strings.TrimPrefix(string(out), "Docker version "); len(major) < 2 || major[:2] < "28" {
		t.Skipf("needs docker, the client, of version 28 or newer, not %s", out)
	}
}

// same compares what the client prints with our rows, in many formats.
func same[T any](t *testing.T, socket string, args []string, own string, rows []T, formats ...string) {
	t.Helper()
	for _, text := range append([]string{"", "table", "json", "{{json .}}"}, formats...) {
		line := args
		if text != "" {
			line = append(line[:len(line):len(line)], "--format", text)
		}
		want, wantErr := docker(t, socket, line...)
		var got bytes.Buffer
		f, err := format.Parse(text, own)
		if err == nil {
			err = format.Rows(&got, f, rows)
		}
		if (err != nil) != (wantErr != nil) {
			t.Errorf("%q: %v; Docker's client: %v", line, err, wantErr)
		}
		if err == nil && got.String() != want {
			t.Errorf("%q:\n%s\nDocker's client:\n%s", line, got.String(), want)
		}
	}
}

// functions are templates with each of the functions, for a field of a row.
func functions(field string) []string {
	var list []string
	for _, f := range []string{
		"{{lower .X}}|{{upper .X}}|{{title .X}}", "{{pad .X 2 3}}|", "{{truncate .X 4}}", "{{json .X}}", "{{println .X}}",
		"{{join (split .X \"e\") \"-\"}}", "{{printf \"%q %5s\" .X .X}}", "{{len .X}}", "{{index (split .X \"e\") 0}}",
		"{{if .X}}yes{{else}}no{{end}}", "{{.X", "{{.Nothing}}", "{{nothing .X}}", "plain", `a\tb\n{{.X}}`,
		`table {{.X}}\t{{lower .X}}\t{{truncate .X 3}}\t{{pad .X 1 1}}\t{{json .X}}`, "table {{upper .X}}",
		"table {{.X}} and {{.X}}\tx", "table {{join (split .X \"e\") \"/\"}}\t{{title .X}}",
	} {
		list = append(list, strings.ReplaceAll(f, ".X", "."+field))
	}
	return list
}

func TestContainersAreDockers(t *testing.T) {
	needDocker(t)
	now := time.Now()
	hours := func(n int) time.Time { return time.Unix(now.Add(-time.Duration(n)*time.Hour-20*time.Minute).Unix(), 0) }
	id := strings.Repeat("0123456789abcdef", 4)
	wide := Container{
		ID: id, Name: "web", Image: "registry.example:5000/a/b:1@sha256:" + id, ImageID: "sha256:" + strings.Repeat("b", 64),
		Command: `sh -c "echo <hello> & wait; exit"`, Created: hours(3), SizeRw: 4_260_000, SizeRootFs: 81_234_567,
		State:  State{Status: Running, Started: hours(2), Health: Healthy},
		Labels: map[string]string{"b": "2", "a.b-c": "<1>", "e": ""},
		Ports: []Port{
			{"0.0.0.0", 8080, 80, "tcp"}, {"::", 8080, 80, "tcp"}, {"", 0, 443, "tcp"}, {"", 0, 444, "tcp"}, {"", 0, 53, "udp"},
			{"127.0.0.1", 9000, 9000, "tcp"}, {"127.0.0.1", 9001, 9001, "tcp"}, {"::1", 9000, 9000, "tcp"}, {"", 0, 446, "tcp"},
		},
		Mounts:   []Mount{{Name: "data-with-a-long-name", Source: "/v/_data", Destination: "/d"}, {Source: "/etc/a/very/long/path", Destination: "/e"}},
		Networks: []Network{{Name: "bridge"}},
	}
	list := []Container{wide,
		{ID: strings.Repeat("c", 64), Name: "日本語", Image: "busybox", ImageID: "sha256:" + id, Command: "sh", Created: hours(40),
			State: State{Status: Exited, ExitCode: 137, Started: hours(39), Finished: hours(30)}},
		{ID: strings.Repeat("d", 64), Name: "x", Image: "sha256:" + id, ImageID: "sha256:" + id, Command: "", Created: hours(900),
			State: State{Status: Created}},
		{ID: strings.Repeat("e", 64), Name: "y", ImageID: "sha256:" + id, Command: "日本語の長いコマンドです、とても", Created: hours(9000),
			State: State{Status: Paused, Started: hours(50)}},
	}
	socket := serve(t, map[string]any{"containers/json": apiContainers(list, now)})
	for _, long := range []bool{false, true} {
		args := []string{"ps", "-a"}
		if long {
			args = append(args, "--no-trunc")
		}
		var rows []ContainerRow
		for i := range list {
			rows = append(rows, list[i].Row(now, long))
		}
		same(t, socket, args, Containers(false, false), rows, "table {{.ID}}\t{{.Label \"a.b-c\"}}\t{{.Labels}}", "{{.Label \"b\"}}",
			"{{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Size}} {{.State}} {{.CreatedAt}}",
			"table {{.Mounts}}\t{{.LocalVolumes}}\t{{.Networks}}\t{{.Size}}\t{{.State}}\t{{.CreatedAt}}\t{{.RunningFor}}")
		if !long {
			same(t, socket, args, Containers(false, false), rows, functions("Names")...)
			same(t, socket, append(args, "-s"), Containers(false, true), rows)
		}
	}
	var ids []ContainerRow
	for i := range list {
		ids = append(ids, list[i].Row(now, false))
	}
	want, _ := docker(t, socket, "ps", "-aq")
	var got bytes.Buffer
	f, _ := format.Parse("", Containers(true, false))
	if err := format.Rows(&got, f, ids); err != nil || got.String() != want {
		t.Errorf("ps -q: %v\n%s\nDocker's client:\n%s", err, got.String(), want)
	}
	none, _ := docker(t, serve(t, map[string]any{"containers/json": []string{}}), "ps")
	got.Reset()
	f, _ = format.Parse("", Containers(false, false))
	if err := format.Rows(&got, f, []ContainerRow{}); err != nil || got.String() != none {
		t.Errorf("no containers: %v\n%q\nDocker's client:\n%q", err, got.String(), none)
	}
}

// apiContainers is what Docker's engine would say about them.
func apiContainers(list []Container, now time.Time) []map[string]any {
	var all []map[string]any
	for _, c := range list {
		var ports, mounts []map[string]any
		for _, p := range c.Ports {
			ports = append(ports, map[string]any{"IP": p.IP, "PublicPort": p.Public, "PrivatePort": p.Private, "Type": p.Protocol})
		}
		for _, m := range c.Mounts {
			driver := ""
			if m.Name != "" {
				driver = "local"
			}
			mounts = append(mounts, map[string]any{"Name": m.Name, "Source": m.Source, "Destination": m.Destination, "Driver": driver})
		}
		networks := make(map[string]any)
		for _, n := range c.Networks {
			networks[n.Name] = map[string]any{}
		}
		all = append(all, map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": c.Image, "ImageID": c.ImageID, "Command": c.Command,
			"Created": c.Created.Unix(), "State": c.State.Status, "Status": c.State.Text(now), "Ports": ports, "Labels": c.Labels,
			"Mounts": mounts, "SizeRw": c.SizeRw, "SizeRootFs": c.SizeRootFs,
			"NetworkSettings": map[string]any{"Networks": networks},
		})
	}
	return all
}

func TestImagesAreDockers(t *testing.T) {
	needDocker(t)
	now := time.Now()
	id := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	made := time.Unix(now.Add(-50*time.Hour).Unix(), 0)
	img := Image{ID: id, Names: []Name{{"busybox", "1"}}, Digest: "sha256:" + strings.Repeat("a", 64), Created: made, Size: 4_261_550, Containers: -1, SharedSize: -1}
	for _, named := range []bool{true, false} {
		api := map[string]any{
			"Id": id, "RepoTags": []string{"busybox:1"}, "RepoDigests": []string{"busybox@" + img.Digest}, "Created": made.Unix(),
			"Size": img.Size, "Containers": -1, "SharedSize": -1,
		}
		if !named {
			img.Names, api["RepoTags"], api["RepoDigests"] = nil, []string{}, []string{}
			img.Digest = ""
		}
		socket := serve(t, map[string]any{"images/json": []any{api}})
		formats := []string{"{{upper .Repository}}", "{{.CreatedAt}} {{.CreatedSince}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}}",
			"table {{.CreatedAt}}\t{{.CreatedSince}}\t{{.Containers}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.VirtualSize}}\t{{.Size}}"}
		for _, long := range []bool{false, true} {
			args := []string{"images"}
			if long {
				args = append(args, "--no-trunc")
			}
			same(t, socket, args, Images(false, false), img.Rows(now, long, false), formats...)
		}
		same(t, socket, []string{"images", "--digests"}, Images(false, true), img.Rows(now, false, true))
	}
}

func TestVolumesAndNetworksAreDockers(t *testing.T) {
	needDocker(t)
	made := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)
	labels := map[string]string{"k": "<v>"}
	socket := serve(t, map[string]any{
		"volumes": map[string]any{"Volumes": []any{map[string]any{
			"Name": "data", "Driver": "local", "Mountpoint": "/m/data", "Scope": "local", "Labels": labels}}},
		"networks": []any{map[string]any{
			"Id": strings.Repeat("f", 64), "Name": "back", "Driver": "bridge", "Scope": "local", "Created": made, "Labels": labels,
			"EnableIPv4": true, "EnableIPv6": false, "Internal": true}},
	})
	v := Volume{Name: "data", Driver: "local", Mountpoint: "/m/data", Labels: labels, Links: -1, Size: -1}
	same(t, socket, []string{"volume", "ls"}, Volumes(false), []VolumeRow{v.Row()},
		"{{.Label \"k\"}} {{.Group}}", "table {{.Name}}\t{{.Size}}\t{{.Links}}\t{{.Status}}\t{{.Availability}}\t{{.Mountpoint}}\t{{.Scope}}\t{{.Labels}}")
	n := Network{ID: strings.Repeat("f", 64), Name: "back", Driver: "bridge", Created: made, IPv4: true, Internal: true, Labels: labels}
	same(t, socket, []string{"network", "ls"}, Networks(false), []NetworkRow{n.Row(false)},
		"{{.Label \"k\"}}", "table {{.CreatedAt}}\t{{.IPv4}}\t{{.IPv6}}\t{{.Internal}}\t{{.Labels}}")
	same(t, socket, []string{"network", "ls", "--no-trunc"}, Networks(false), []NetworkRow{n.Row(true)})
}

func TestHistoryIsDockers(t *testing.T) {
	needDocker(t)
	now := time.Now()
	layers := []Layer{
		{ID: "sha256:" + strings.Repeat("a", 64), Created: time.Unix(now.Add(-3*time.Hour-time.Minute).Unix(), 0), CreatedBy: "RUN /bin/sh -c echo a\tlong <command>, much longer than the column", Size: 1_234_567, Comment: "buildkit"},
		{ID: "<missing>", Created: time.Unix(0, 0), CreatedBy: "COPY", Size: 0},
	}
	var api []map[string]any
	for _, l := range layers {
		api = append(api, map[string]any{"Id": l.ID, "Created": l.Created.Unix(), "CreatedBy": l.CreatedBy, "Size": l.Size, "Comment": l.Comment})
	}
	socket := serve(t, map[string]any{"images/x/history": api})
	for _, long := range []bool{false, true} {
		for _, human := range []bool{false, true} {
			args := []string{"history", "x"}
			if long {
				args = append(args, "--no-trunc")
			}
			if !human {
				args = append(args, "--human=false")
			}
			var rows []LayerRow
			for i := range layers {
				rows = append(rows, layers[i].Row(now, long, human))
			}
			same(t, socket, args, History(false, human), rows, "table {{.CreatedAt}}\t{{.Comment}}", "{{.ID}} {{.CreatedSince}}")
		}
	}
}

func TestInspectIsDockers(t *testing.T) {
	needDocker(t)
	type object struct { // of Docker's field names
		ID     string `json:"Id"`
		Name   string
		State  struct{ Pid int }
		Config struct {
			Labels map[string]string
			Cmd    []string
		}
		Extra map[string]any `json:",omitempty"`
	}
	var o object
	o.ID, o.Name, o.State.Pid = strings.Repeat("a", 64), "/<web>", 42
	o.Config.Labels, o.Config.Cmd = map[string]string{"a.b": "<1>"}, []string{"sh", "-c"}
	o.Extra = map[string]any{"Big": 12345678901234}
	socket := serve(t, map[string]any{"containers/web/json": o})
	for _, text := range []string{
		"{{.State.Pid}}", "{{.Name}}", "{{json .Config.Labels}}", `{{index .Config.Labels "a.b"}}`, "{{.Config.Labels}}", "{{.Config.Cmd}}",
		`{{join .Config.Cmd " "}}`, "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "{{.Id}}", "{{.ID}}", "{{len .Config.Cmd}}", "{{.Extra.Big}}",
		"{{.State.Foo}}", "{{.Nothing}}", "{{.Id.X}}", "{{index .Config.Cmd 5}}", "{{", `{{println .State.Pid}}`, `{{if .State.Pid}}y{{end}}`,
	} {
		cmd := exec.Command("docker", "-H", "unix://"+socket, "container", "inspect", "-f", text, "web")
		var wantErr bytes.Buffer
		cmd.Stderr = &wantErr
		want, fails := cmd.Output()
		var got bytes.Buffer
		err := format.Inspect(&got, text, []object{o})
		if got.String() != string(want) || (err != nil) != (fails != nil) {
			t.Errorf("%q: %q, %v\nDocker's client: %q, %v %s", text, got.String(), err, want, fails, wantErr.String())
		}
		if err != nil && strings.TrimSpace(wantErr.String()) != err.Error() {
			t.Errorf("%q: %v\nDocker's client: %s", text, err, wantErr.String())
		}
	}
}

func TestDiskUsageIsDockers(t *testing.T) {
	needDocker(t)
	now := time.Now()
	images := []Image{
		{ID: "sha256:" + strings.Repeat("a", 64), Names: []Name{{"x", "1"}}, Created: now, Size: 5_000_000, SharedSize: 1_000_000, Containers: 2},
		{ID: "sha256:" + strings.Repeat("b", 64), Created: now, Size: 3_000_000, SharedSize: 0, Containers: 0},
	}
	containers := []Container{
		{ID: "a", Name: "a", SizeRw: 4096, State: State{Status: Running}},
		{ID: "b", Name: "b", SizeRw: 12345, State: State{Status: Exited}},
	}
	volumes := []Volume{{Name: "v", Links: 1, Size: 77}, {Name: "w", Links: 0, Size: 1234567}}
	var apiImages, apiVolumes []any
	for _, i := range images {
		apiImages = append(apiImages, map[string]any{"Id": i.ID, "Size": i.Size, "SharedSize": i.SharedSize, "Containers": i.Containers})
	}
	for _, v := range volumes {
		apiVolumes = append(apiVolumes, map[string]any{"Name": v.Name, "UsageData": map[string]any{"RefCount": v.Links, "Size": v.Size}})
	}
	socket := serve(t, map[string]any{"system/df": map[string]any{
		"LayersSize": 8_000_000, "Images": apiImages, "Containers": apiContainers(containers, now), "Volumes": apiVolumes,
	}})
	same(t, socket, []string{"system", "df"}, Disk, DiskUsage(8_000_000, images, containers, volumes), "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}")
	empty := serve(t, map[string]any{"system/df": map[string]any{}})
	same(t, empty, []string{"system", "df"}, Disk, DiskUsage(0, nil, nil, nil))
}

func TestEventsAreDockers(t *testing.T) {
	needDocker(t)
	var all stream
	var text, jsons, names strings.Builder
	for _, e := range []event.Event{
		{Time: time.Unix(1700000000, 123000), Type: event.Container, Action: "exec_start: sh", ID: strings.Repeat("a", 64),
			Attributes: map[string]string{"image": "busybox", "name": "web", "b.c": "<&>"}},
		{Time: time.Unix(1700000001, 0), Type: event.Network, Action: "connect", ID: "n", Attributes: map[string]string{"type": "bridge"}},
		{Time: time.Unix(1700000002, 0), Type: event.Image, Action: "tag", ID: "sha256:1", Attributes: map[string]string{"name": "x:1"}},
		{Time: time.Unix(1700000003, 0), Type: event.Volume, Action: "create", ID: "v", Attributes: map[string]string{}},
	} {
		m := NewMessage(e)
		all = append(all, m)
		text.WriteString(EventLine(e) + "\n")
		for form, w := range map[string]*strings.Builder{"json": &jsons, "{{.Action}} {{.Actor.Attributes.name}} {{.Time}} {{json .Actor}}": &names} {
			tmpl, err := format.ParseTemplate(form)
			if err == nil {
				err = tmpl.Print(w, m)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	socket := serve(t, map[string]any{"events": all})
	for form, got := range map[string]string{
		"": text.String(), "json": jsons.String(), "{{.Action}} {{.Actor.Attributes.name}} {{.Time}} {{json .Actor}}": names.String(),
	} {
		if want, _ := docker(t, socket, "events", "--format", form); got != want {
			t.Errorf("%q:\n%s\nDocker's client:\n%s", form, got, want)
		}
	}
}
