// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// The kernel calls this with the signal's number in R0, on the stack for signals.
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	SUB  $1, R0
	MOVD $1, R1
	LSL  R0, R1, R1
	MOVD $·pending(SB), R2

again:
	LDAXR (R2), R3
	ORR   R1, R3
	STLXR R3, (R2), R4
	CBNZ  R4, again
	MOVW  ·bell(SB), R0
	MOVD  $·one(SB), R1
	MOVD  $8, R2
	MOVD  $64, R8             // write
	SVC
	RET

// This is where it returns to: back to what was interrupted.
TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVD $139, R8             // rt_sigreturn
	SVC
	BRK

// func handlers() (handler, restorer uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	MOVD $handler<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $restorer<>(SB), R0
	MOVD R0, restorer+8(FP)
	RET
