// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// The kernel calls this with the signal's number in DI, on the stack for signals.
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	LEAL -1(DI), CX
	MOVL $1, AX
	SHLQ CX, AX
	LOCK
	ORQ  AX, ·pending(SB)
	MOVL ·bell(SB), DI
	MOVQ $·one(SB), SI
	MOVL $8, DX
	MOVL $1, AX               // write
	SYSCALL
	RET

// This is where it returns to: back to what was interrupted.
TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVL $15, AX              // rt_sigreturn
	SYSCALL
	INT  $3

// func handlers() (handler, restorer uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	MOVQ $handler<>(SB), AX
	MOVQ AX, handler+0(FP)
	MOVQ $restorer<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
