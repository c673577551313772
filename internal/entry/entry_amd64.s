// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func entry()
// See entry_unsafe.go. At the start of a program the stack pointer points to argc;
// behind it lie argv, a nil, the environment, a nil, and the auxiliary vector.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ $runtime·text(SB), DI
	MOVQ $runtime·erodata(SB), SI
	MOVQ $22, DX                 // MADV_POPULATE_READ
	CALL populate<>(SB)
	MOVQ $runtime·noptrdata(SB), DI
	MOVQ $runtime·ebss(SB), SI
	MOVQ $23, DX                 // MADV_POPULATE_WRITE
	CALL populate<>(SB)

	MOVQ SP, SI
	MOVQ (SI), CX
	LEAQ 16(SI)(CX*8), R8        // the environment

next:
	CMPQ (R8), $0
	JEQ  found
	ADDQ $8, R8
	JMP  next

found:
	SUBQ $16, SP                 // make room for two words at its end
	MOVQ SP, DI
	MOVQ R8, CX
	SUBQ SI, CX
	SHRQ $3, CX
	CLD
	REP
	MOVSQ
	MOVQ $·processors(SB), AX
	MOVQ AX, (DI)
	MOVQ $·preemption(SB), AX
	MOVQ AX, 8(DI)
	XORL DX, DX
	JMP  _rt0_amd64_linux(SB)

// populate has the pages from DI to SI be there, as DX says. An error only
// costs time: kernels before 5.14 don't know this.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	ANDQ $~4095, DI
	ADDQ $4095, SI
	ANDQ $~4095, SI
	SUBQ DI, SI
	MOVQ $28, AX                 // madvise
	SYSCALL
	RET

// func deepen()
// The frame is never written to.
TEXT ·deepen(SB), 0, $24000-0
	RET
