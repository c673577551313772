// SPDX-License-Identifier: Apache-2.0

// Package petname makes up names for what was given none: "amber_noether".
package petname

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"
)

// adjectives say what glass, light and people can be.
const adjectives = `able agile airy amber ample apt ardent astute azure balmy blithe bold brave bright brisk calm candid
carefree cheery chipper civil clear clever cool cordial cosy crisp curious daring dapper deft eager earnest easy elated
fair fearless fine fleet fond frank free fresh frosty gallant genial gentle glad gleaming glossy golden graceful grand
hale handy happy hardy hearty honest humble ideal jaunty jolly jovial keen kind lively loyal lucid lucky mellow merry
mild modest neat nimble noble open patient pearly placid playful plucky polite proud quick quiet radiant ready robust
rosy serene sharp shiny silky sincere smart smooth snug solid sound sparkling spry stable steady stellar sunny sure
swift tender tidy tranquil trusty upbeat valiant vivid warm wise witty worthy zesty`

// surnames are those of people who made things clear: with glass and light, in
// numbers, in nature, and in machines that count.
const surnames = `abbe abel agnesi airy alhazen ampere archimedes avogadro babbage banach banneker bardeen bartik bell
bernoulli bessel blackburn blackwell bohr boltzmann bolyai boole borg bose boyle bragg brahe brandt brewster cannon
cantor cauchy cavendish cerf chandrasekhar chatelet church clarke conway copernicus cori coulomb curie dalton daguerre
darwin descartes dijkstra dirac doppler easley eddington einstein engelbart eratosthenes erdos euclid euler faraday
fermat fermi feynman fizeau foucault franklin fraunhofer fresnel galilei galois gauss germain gibbs goeppert goldberg
gosling grimaldi hamilton hawking heisenberg helmholtz herschel hertz hilbert hipparchus hodgkin hollerith hooke hopper
humboldt huygens hypatia ibnsahl jackson jemison johnson joliot joule kare kapany kepler kernighan khayyam kirchhoff
knuth kovalevskaya lagrange lamarr lamport land laplace laue leavitt leeuwenhoek leibniz leonardo liskov lovelace
maathai mach maiman malus maxwell mayer mcclintock meitner mendel mendeleev merian mersenne michelson minkowski mirzakhani
mitchell moser napier nash newton nightingale nobel noether ohm ockham payne peano pascal pasteur pauli pauling perlman
planck poincare ptolemy pythagoras raman ramanujan rayleigh ride riemann ritchie roemer roentgen rubin rutherford sagan
salam schott schrodinger seurat shannon shockley snell somerville sprague stokes swirles tesla thales thompson torricelli
turing tyndall volta wallis watt weyl wilkes wing wolf wu yalow young yonath zeiss zuse`

// New makes up a name that is not taken. It asks taken for a number of them;
// if all are, the name has a number at its end.
func New(taken func(string) bool) string {
	first, last := strings.Fields(adjectives), strings.Fields(surnames)
	for try := 0; ; try++ {
		n := random()
		name := first[n%uint64(len(first))] + "_" + last[n>>32%uint64(len(last))]
		if try >= 5 {
			name += strconv.FormatUint(n>>20%uint64(10*(try-4)), 10)
		}
		if !taken(name) {
			return name
		}
	}
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}
