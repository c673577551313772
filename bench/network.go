// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
)

// portGroup is the group of the rows of containers with a published port.
const portGroup = "engine, a published port"

// published are the rows of containers with one published port: those of the
// engines, and vitro's with more and more containers on the network.
func (s *scene) published(vitro string) []contender {
	podman, imported := s.podman()
	docker, dockerd := s.docker()
	list := []contender{
		{name: "vitro run --rm -p 8080:80 busybox true", vitro: true, needs: []string{vitro},
			argvs: always(vitro, "--root", s.path("vitro"), "run", "--rm", "-p", "8080:80", "busybox", "true")},
		{name: "podman run --rm -p 8081:80", needs: []string{"podman", "runc"}, setup: imported,
			argvs: always(append(podman, "run", "--rm", "--cgroup-parent", "/"+cgroupName, "-p", "8081:80", benchImage, "/bin/true")...)},
		{name: "docker run --rm -p 8082:80 (the client)", needs: []string{"dockerd", "docker"}, setup: dockerd,
			argvs: always(append(docker, "run", "--rm", "-p", "8082:80", benchImage, "/bin/true")...)},
	}
	for _, n := range [...]int{1, 100, 1000} {
		root := s.path(fmt.Sprintf("vitro-%d", n))
		crowd := `"$0" --root "$1" network create crowd >&2 && for i in $(seq "$2"); do "$0" --root "$1" run -d --network crowd busybox sleep 100000 >&2 || exit; done`
		end := `"$0" --root "$1" rm -f $("$0" --root "$1" ps -aq) && "$0" --root "$1" network rm crowd`
		list = append(list, contender{
			name: fmt.Sprintf("the same, containers on the network: %d", n), needs: []string{vitro},
			setup: [][]string{{"sh", "-c", crowd, vitro, root, fmt.Sprint(n)}},
			after: [][]string{{"sh", "-c", end, vitro, root}},
			argvs: always(vitro, "--root", root, "run", "--rm", "--network", "crowd", "-p", fmt.Sprintf("%d:80", 9000+n), "busybox", "true"),
		})
	}
	for i := range list {
		list[i].group = portGroup
	}
	return list
}
