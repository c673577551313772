// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func entry()
// See entry_unsafe.go. At the start of a program the stack pointer points to argc;
// behind it lie argv, a nil, the environment, a nil, and the auxiliary vector.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD $runtime·text(SB), R0
	MOVD $runtime·erodata(SB), R1
	MOVD $22, R2                 // MADV_POPULATE_READ
	BL   populate<>(SB)
	MOVD $runtime·noptrdata(SB), R0
	MOVD $runtime·ebss(SB), R1
	MOVD $23, R2                 // MADV_POPULATE_WRITE
	BL   populate<>(SB)

	MOVD RSP, R3                 // from
	SUB  $16, RSP                // make room for two words at the environment's end
	MOVD RSP, R4                 // to
	MOVD (R3), R5                // words before the environment: argc, argv, nil
	ADD  $2, R5

before:
	MOVD.P 8(R3), R6
	MOVD.P R6, 8(R4)
	SUB    $1, R5
	CBNZ   R5, before

next:
	MOVD   (R3), R6
	CBZ    R6, found
	MOVD.P R6, 8(R4)
	ADD    $8, R3
	B      next

found:
	MOVD $·processors(SB), R6
	MOVD R6, (R4)
	MOVD $·preemption(SB), R6
	MOVD R6, 8(R4)
	B    _rt0_arm64_linux(SB)

// populate has the pages from R0 to R1 be there, as R2 says. An error only
// costs time: kernels before 5.14 don't know this. Pages have at most 64 KiB,
// and the program's segments are apart by that.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	AND  $~65535, R0
	SUB  R0, R1
	MOVD $233, R8                // madvise
	SVC
	RET

// func deepen()
// The frame is never written to.
TEXT ·deepen(SB), 0, $24000-0
	RET
