// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// The interpreter of the sealed program: see sealed.go. It runs in a process
// without Go, at another address than here; from its end on, nothing is copied.
//
// Its state is in registers that no system call changes, which are all but R0.
// R27 is the assembler's own.
#define HEAD  R19
#define OP    R20 // the instruction
#define INDEX R21 // its number
#define PAGE  R22
#define REGS  R23

#define CALL3(nr) MOVD $nr, R8; SVC

// func sealed()
TEXT ·sealed(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $const_headAt, HEAD
	MOVD head_page(HEAD), R24
	MOVD R24, R0
	MOVD head_size(HEAD), R1
	MOVD $const_protRW, R2
	MOVD $const_mapHere, R3
	MOVD head_file(HEAD), R4
	MOVD $0, R5
	CALL3(const_sysMmap)
	CMP  R24, R0
	BNE  notrun
	MOVD R0, PAGE
	MOVD $1, R1
	MOVW R1, page_started(PAGE)
	MOVD head_sock(HEAD), R1
	MOVD R1, page_in(PAGE)
	MOVD R1, page_out(PAGE)
	MOVD head_regs(HEAD), REGS
	MOVD $0, INDEX

next:
	MOVD  head_count(HEAD), R1
	CMP   R1, INDEX
	BHS   fail
	MOVD  $op__size, R1
	MUL   INDEX, R1, OP
	MOVD  head_ops(HEAD), R1
	ADD   R1, OP
	MOVHU op_step(OP), R1
	MOVWU page_step(PAGE), R2
	CMPW  R2, R1
	BEQ   act
	MOVW  R1, page_step(PAGE)
	MOVBU op_timed(OP), R2
	CBZ   R2, act

	// the time at which the step begins
	MOVD  $const_monotonic, R0
	ADD   $page_clock, PAGE, R1
	CALL3(const_sysClock)
	MOVD  page_clock(PAGE), R1
	MOVD  $const_nanoseconds, R2
	MUL   R2, R1
	MOVD  page_clock+8(PAGE), R2
	ADD   R2, R1
	MOVHU op_step(OP), R2
	MOVD  head_times(HEAD), R3
	MOVD  R1, (R3)(R2<<3)

act:
	MOVBU op_kind(OP), R1
	CMPW  $const_opCall, R1
	BEQ   call
	CMPW  $const_opWait, R1
	BEQ   wait
	CMPW  $const_opDone, R1
	BEQ   done
	CMPW  $const_opFork, R1
	BEQ   call
	CMPW  $const_opAwait, R1
	BEQ   await

	// opFail
	MOVD op_arg(OP), R0
	B    failed

call:
	MOVD  op_arg+0(OP), R0
	MOVD  op_arg+8(OP), R1
	MOVD  op_arg+16(OP), R2
	MOVD  op_arg+24(OP), R3
	MOVD  op_arg+32(OP), R4
	MOVD  op_arg+40(OP), R5
	MOVHU op_reg+0(OP), R8
	CBZ   R8, reg1
	MOVD  (REGS)(R8<<3), R0

reg1:
	MOVHU op_reg+2(OP), R8
	CBZ   R8, reg2
	MOVD  (REGS)(R8<<3), R1

reg2:
	MOVHU op_reg+4(OP), R8
	CBZ   R8, reg3
	MOVD  (REGS)(R8<<3), R2

reg3:
	MOVHU op_nr(OP), R8
	SVC
	CMN   $4095, R0
	BHS   negative
	MOVBU op_kind(OP), R1
	CMPW  $const_opFork, R1
	BNE   ok
	CBZ   R0, ok

	// the parent of the two tells the host of the child, and ends
	MOVW R0, page_pid(PAGE)
	MOVD $'p', R1
	MOVB R1, page_buf(PAGE)
	MOVD page_out(PAGE), R0
	ADD  $page_buf, PAGE, R1
	MOVD $1, R2
	CALL3(const_sysWrite)
	MOVD $0, R0
	B    exit

done:
	MOVD $'d', R1
	MOVB R1, page_buf(PAGE)
	MOVD page_out(PAGE), R0
	ADD  $page_buf, PAGE, R1
	MOVD $1, R2
	CALL3(const_sysWrite)
	MOVD $0, R0
	B    ok

await:
	MOVD op_arg+0(OP), R1
	MOVD R1, page_in(PAGE)
	MOVD op_arg+8(OP), R1
	MOVD R1, page_out(PAGE)
	MOVD $0, R0
	B    ok

wait:
	MOVD page_in(PAGE), R0
	ADD  $page_buf, PAGE, R1
	MOVD $1, R2
	CALL3(const_sysRead)
	CMN  $4095, R0
	BHS  negative
	CMP  $1, R0
	BNE  gone                // the host is

ok:
	MOVHU op_out(OP), R1
	CBZ   R1, skip
	MOVD  R0, (REGS)(R1<<3)

skip:
	MOVHU op_skipOK(OP), R1
	ADD   R1, INDEX
	ADD   $1, INDEX
	B     next

negative:
	NEG R0, R0

failed:
	MOVHU op_call(OP), R1
	MOVD  $const_noCall, R2
	CMPW  R2, R1
	BEQ   allowed
	MOVD  head_errs(HEAD), R2
	MOVH  R0, (R2)(R1<<1)

allowed:
	MOVBU op_allow+0(OP), R2
	CMPW  R2, R0
	BEQ   jump
	MOVBU op_allow+1(OP), R2
	CMPW  R2, R0
	BEQ   jump
	MOVBU op_allow+2(OP), R2
	CMPW  R2, R0
	BEQ   jump
	MOVW  R1, page_call(PAGE)
	MOVW  R0, page_errno(PAGE)
	MOVBU op_filtered(OP), R1
	CBNZ  R1, tell
	B     fail

jump:
	MOVHU op_skipErr(OP), R1
	ADD   R1, INDEX
	ADD   $1, INDEX
	B     next

	// Tell the host, and wait for it to have looked: it finds out why an exec
	// failed in the container's tree, which is there as long as we are.
fail:
	MOVD head_open(HEAD), R1
	CBZ  R1, tell
	MOVD $const_setDumpable, R0
	MOVD $1, R1
	CALL3(const_sysPrctl)

tell:
	MOVD $'f', R1
	MOVB R1, page_buf(PAGE)
	MOVD page_out(PAGE), R0
	ADD  $page_buf, PAGE, R1
	MOVD $1, R2
	CALL3(const_sysWrite)

	// what the host has sent before it heard is no leave to go
look:
	MOVD page_in(PAGE), R0
	ADD  $page_buf, PAGE, R1
	MOVD $1, R2
	CALL3(const_sysRead)
	CMP  $1, R0
	BEQ  look
	CMN  $const_eintr, R0
	BEQ  look

gone:
	MOVD $1, R0
	B    exit

notrun:
	MOVD $const_notRun, R0

exit:
	CALL3(const_sysExit)
	B exit

// func sealedEnd()
TEXT ·sealedEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func sealedText() (start, end uintptr)
TEXT ·sealedText(SB), NOSPLIT, $0-16
	MOVD $·sealed(SB), R0
	MOVD R0, start+0(FP)
	MOVD $·sealedEnd(SB), R0
	MOVD R0, end+8(FP)
	RET
