// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"vitro/event"
	"vitro/filter"
)

func TestStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for want, s := range map[string]State{
		"Created":                             {Status: Created},
		"Up 5 minutes":                        {Status: Running, Started: ago(5 * time.Minute)},
		"Up 5 minutes (healthy)":              {Status: Running, Started: ago(5 * time.Minute), Health: Healthy},
		"Up 1 second (unhealthy)":             {Status: Running, Started: ago(time.Second), Health: Unhealthy},
		"Up 2 days (health: starting)":        {Status: Running, Started: ago(49 * time.Hour), Health: Starting},
		"Up About an hour":                    {Status: Running, Started: ago(70 * time.Minute), Health: NoHealth},
		"Up 2 days (Paused)":                  {Status: Paused, Started: ago(49 * time.Hour), Health: Healthy},
		"Up Less than a second":               {Status: Running, Started: ago(-time.Hour)}, // the clock was put back
		"Restarting (1) 4 seconds ago":        {Status: Restarting, ExitCode: 1, Started: ago(9 * time.Second), Finished: ago(4 * time.Second)},
		"Exited (137) 3 hours ago":            {Status: Exited, ExitCode: 137, Started: ago(4 * time.Hour), Finished: ago(3 * time.Hour)},
		"Exited (0) About a minute ago":       {Status: Exited, Started: ago(4 * time.Hour), Finished: ago(70 * time.Second)},
		"Removal In Progress":                 {Status: Removing},
		"Dead":                                {Status: Dead},
		"Exited (255) Less than a second ago": {Status: Exited, ExitCode: 255, Started: now, Finished: now},
	} {
		if got := s.Text(now); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

func TestContainerFilters(t *testing.T) {
	now := time.Now()
	earlier, later := now.Add(-time.Hour), now.Add(time.Hour)
	running := Container{
		ID: "abc123", Name: "web", ImageID: "sha256:1", Created: now, Labels: map[string]string{"a": "1"},
		State:    State{Status: Running, Started: now, Health: Healthy},
		Ports:    []Port{{"0.0.0.0", 8080, 80, "tcp"}, {"", 0, 53, "udp"}},
		Mounts:   []Mount{{Name: "data", Destination: "/d"}, {Source: "/src", Destination: "/e"}},
		Networks: []Network{{Name: "back", ID: "beef00"}},
	}
	ended := Container{ID: "def456", Name: "job", Created: now, State: State{Status: Exited, ExitCode: 3, Started: now, Finished: now}}
	fresh := Container{ID: "fff", Name: "new", Created: now, State: State{Status: Created}}
	for _, tt := range []struct {
		flags  string
		around Around
		want   string
	}{
		{"", Around{}, "web job new"},
		{"id=abc", Around{}, "web"},
		{"name=/we", Around{}, "web"},
		{"name=e", Around{}, "web new"},
		{"name=^e", Around{}, ""},
		{"name=web name=job", Around{}, "web job"},
		{"name=(", Around{}, ""},
		{"label=a=1", Around{}, "web"},
		{"label=a=2", Around{}, ""},
		{"exited=3", Around{}, "job"},
		{"exited=0", Around{}, ""},
		{"status=created status=exited", Around{}, "job new"},
		{"health=none", Around{}, "job new"},
		{"health=healthy", Around{}, "web"},
		{"volume=data", Around{}, "web"},
		{"volume=/e", Around{}, "web"},
		{"volume=/src", Around{}, ""},
		{"network=back", Around{}, "web"},
		{"network=beef", Around{}, "web"},
		{"publish=8080", Around{}, "web"},
		{"publish=8000-9000/tcp", Around{}, "web"},
		{"publish=80", Around{}, ""},
		{"publish=53/udp", Around{}, ""},
		{"expose=53/udp", Around{}, "web"},
		{"expose=53", Around{}, ""},
		{"is-task=true", Around{}, ""},
		{"is-task=false", Around{}, "web job new"},
		{"name=web status=exited", Around{}, ""},
		{"before=x", Around{Before: &earlier}, ""},
		{"before=x", Around{Before: &later}, "web job new"},
		{"since=x", Around{Since: &earlier}, "web job new"},
		{"since=x", Around{Since: &later}, ""},
		{"ancestor=x", Around{Ancestor: func(id string) bool { return id == "sha256:1" }}, "web"},
	} {
		f, err := filter.Parse(strings.Fields(tt.flags), filter.Containers)
		if err == nil {
			err = CheckContainers(f)
		}
		var got []string
		for _, c := range []*Container{&running, &ended, &fresh} {
			if err == nil && c.Match(f, tt.around) {
				got = append(got, c.Name)
			}
		}
		if s := strings.Join(got, " "); err != nil || s != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.flags, s, err, tt.want)
		}
	}
	for _, bad := range []string{"exited=x", "status=up", "health=sick", "publish=http", "publish=9-8", "expose=80/icmp", "publish=70000", "is-task=x"} {
		f, _ := filter.Parse([]string{bad}, filter.Containers)
		if err := CheckContainers(f); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestImageFilters(t *testing.T) {
	now := time.Now()
	list := []Image{
		{ID: "sha256:aa", Names: []Name{{"a/web", "1"}, {"a/web", "2"}}, Created: now.Add(-time.Hour)},
		{ID: "sha256:bb", Names: []Name{{"db", "latest"}}, Created: now.Add(-2 * time.Hour), Labels: map[string]string{"l": ""}},
		{ID: "sha256:cc", Created: now.Add(-3 * time.Hour)},
	}
	for flags, want := range map[string]string{
		"": "aa bb cc", "dangling=true": "cc", "dangling=false": "aa bb", "label=l": "bb",
		"reference=db": "bb", "reference=db:latest": "bb", "reference=*": "bb", "reference=*/*": "aa", "reference=a/web:2": "aa",
		"reference=*b": "bb", "before=aa": "bb cc", "before=db": "cc", "since=cc": "aa bb", "since=sha256:bb": "aa", "until=90m": "bb cc",
		"since=cc before=aa": "bb", "reference=db reference=a/*": "aa bb",
	} {
		f, err := filter.Parse(strings.Fields(flags), filter.Images)
		if err != nil {
			t.Fatal(err)
		}
		found, err := MatchImages(list, f, now)
		var got []string
		for _, img := range found {
			got = append(got, strings.TrimPrefix(img.ID, "sha256:"))
		}
		if s := strings.Join(got, " "); err != nil || s != want {
			t.Errorf("%s: %q, %v; want %q", flags, s, err, want)
		}
		if flags == "reference=a/web:2" && !slices.Equal(found[0].Names, []Name{{"a/web", "2"}}) {
			t.Errorf("names that were not asked for: %v", found[0].Names)
		}
	}
	for _, bad := range []string{"dangling=x", "before=nothing", "until=x", "reference=["} {
		f, _ := filter.Parse([]string{bad}, filter.Images)
		if _, err := MatchImages(list, f, now); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestVolumeAndNetworkFilters(t *testing.T) {
	v := Volume{Name: "data", Driver: "local", Links: 1}
	for flags, want := range map[string]bool{"": true, "name=at": true, "name=x": false, "driver=local": true, "dangling=true": false, "dangling=0": true} {
		f, _ := filter.Parse(strings.Fields(flags), filter.Volumes)
		if v.Match(f) != want || CheckVolumes(f) != nil {
			t.Errorf("volume, %s: %v", flags, !want)
		}
	}
	n := Network{ID: "beef", Name: "back", Driver: "bridge"}
	for flags, want := range map[string]bool{
		"": true, "id=be": true, "name=ack": true, "driver=host": false, "scope=local": true, "scope=global": false,
		"type=custom": true, "type=builtin": false, "dangling=true": true, "dangling=false": false,
	} {
		f, _ := filter.Parse(strings.Fields(flags), filter.Networks)
		if n.Match(f) != want || CheckNetworks(f) != nil {
			t.Errorf("network, %s: %v", flags, !want)
		}
	}
	for _, bad := range []string{"scope=x", "type=x", "dangling=x"} {
		f, _ := filter.Parse([]string{bad}, filter.Networks)
		if CheckNetworks(f) == nil {
			t.Errorf("network, %s is taken", bad)
		}
	}
}

// Docker's JSON has its keys sorted.
func TestFieldsAreInOrder(t *testing.T) {
	for _, row := range []any{ContainerRow{}, ImageRow{}, LayerRow{}, ResultRow{}, NetworkRow{}, VolumeRow{}, UsageRow{}, ChangeRow{}, DiskRow{}} {
		b, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		d := json.NewDecoder(strings.NewReader(string(b)))
		for {
			tok, err := d.Token()
			if err != nil {
				break
			}
			if s, ok := tok.(string); ok && s != "" {
				keys = append(keys, s)
			}
		}
		if len(keys) == 0 || !slices.IsSorted(keys) {
			t.Errorf("%T: %s", row, b)
		}
	}
}

func TestEventFilters(t *testing.T) {
	list := []event.Event{
		{Type: event.Container, Action: "health_status: healthy", ID: "c123", Attributes: map[string]string{"name": "web1", "image": "localhost:5000/busybox:1", "l": "1"}},
		{Type: event.Image, Action: "tag", ID: "sha256:1", Attributes: map[string]string{"name": "busybox:1"}},
		{Type: event.Network, Action: "connect", ID: "n1", Attributes: map[string]string{"name": "back", "container": "c123"}},
		{Type: event.Volume, Action: "create", ID: "data"},
		{Type: event.Lost, Action: "rotate"},
	}
	for flags, want := range map[string]string{
		"": "container image network volume lost", "type=image": "image lost", "type=image type=volume": "image volume lost",
		"container=web": "container lost", "container=c1": "container lost", "container=c2": "lost", "network=back": "network lost",
		"volume=da": "volume lost", "event=health_status": "container lost", "event=tag event=create": "image volume lost",
		"image=busybox": "image lost", "image=busybox:1": "image lost", "image=localhost:5000/busybox": "container lost", "image=busy": "lost",
		"label=l=1": "container lost", "scope=local": "container image network volume lost", "scope=swarm": "lost", "daemon=x": "lost",
	} {
		f, err := filter.Parse(strings.Fields(flags), filter.Events)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list {
			if MatchEvent(e, f) {
				got = append(got, e.Type)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %q, want %q", flags, s, want)
		}
	}
}
