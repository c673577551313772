// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// The interpreter of the sealed program: see sealed.go. It runs in a process
// without Go, at another address than here; from its end on, nothing is copied.
//
// Its state is in registers that no system call changes, which are all but AX,
// CX and R11.
#define HEAD  R12
#define OP    R13 // the instruction
#define INDEX R14 // its number
#define PAGE  R15
#define REGS  BX

#define CALL3(nr) MOVL $nr, AX; SYSCALL

// func sealed()
TEXT ·sealed(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $const_headAt, HEAD
	MOVQ head_page(HEAD), DI
	MOVQ head_size(HEAD), SI
	MOVL $const_protRW, DX
	MOVL $const_mapHere, R10
	MOVQ head_file(HEAD), R8
	XORL R9, R9
	CALL3(const_sysMmap)
	CMPQ AX, DI
	JNE  notrun
	MOVQ AX, PAGE
	MOVL $1, page_started(PAGE)
	MOVQ head_sock(HEAD), AX
	MOVQ AX, page_in(PAGE)
	MOVQ AX, page_out(PAGE)
	MOVQ head_regs(HEAD), REGS
	XORL INDEX, INDEX

next:
	CMPQ    INDEX, head_count(HEAD)
	JCC     fail
	IMUL3Q  $op__size, INDEX, OP
	ADDQ    head_ops(HEAD), OP
	MOVWLZX op_step(OP), AX
	CMPL    AX, page_step(PAGE)
	JEQ     act
	MOVL    AX, page_step(PAGE)
	CMPB    op_timed(OP), $0
	JEQ     act

	// the time at which the step begins
	MOVL    $const_monotonic, DI
	LEAQ    page_clock(PAGE), SI
	CALL3(const_sysClock)
	IMUL3Q  $const_nanoseconds, page_clock(PAGE), CX
	ADDQ    page_clock+8(PAGE), CX
	MOVWLZX op_step(OP), AX
	MOVQ    head_times(HEAD), DX
	MOVQ    CX, (DX)(AX*8)

act:
	MOVBLZX op_kind(OP), AX
	CMPL    AX, $const_opCall
	JEQ     call
	CMPL    AX, $const_opWait
	JEQ     wait
	CMPL    AX, $const_opDone
	JEQ     done
	CMPL    AX, $const_opFork
	JEQ     call
	CMPL    AX, $const_opAwait
	JEQ     await

	// opFail
	MOVQ op_arg(OP), AX
	JMP  failed

call:
	MOVQ    op_arg+0(OP), DI
	MOVQ    op_arg+8(OP), SI
	MOVQ    op_arg+16(OP), DX
	MOVQ    op_arg+24(OP), R10
	MOVQ    op_arg+32(OP), R8
	MOVQ    op_arg+40(OP), R9
	MOVWLZX op_reg+0(OP), AX
	TESTL   AX, AX
	JEQ     reg1
	MOVQ    (REGS)(AX*8), DI

reg1:
	MOVWLZX op_reg+2(OP), AX
	TESTL   AX, AX
	JEQ     reg2
	MOVQ    (REGS)(AX*8), SI

reg2:
	MOVWLZX op_reg+4(OP), AX
	TESTL   AX, AX
	JEQ     reg3
	MOVQ    (REGS)(AX*8), DX

reg3:
	MOVWLZX op_nr(OP), AX
	SYSCALL
	CMPQ    AX, $const_lastErrno
	JCC     negative
	CMPB    op_kind(OP), $const_opFork
	JNE     ok
	TESTQ   AX, AX
	JEQ     ok

	// the parent of the two tells the host of the child, and ends
	MOVL AX, page_pid(PAGE)
	MOVB $'p', page_buf(PAGE)
	MOVQ page_out(PAGE), DI
	LEAQ page_buf(PAGE), SI
	MOVL $1, DX
	CALL3(const_sysWrite)
	XORL DI, DI
	JMP  exit

done:
	MOVB $'d', page_buf(PAGE)
	MOVQ page_out(PAGE), DI
	LEAQ page_buf(PAGE), SI
	MOVL $1, DX
	CALL3(const_sysWrite)
	XORL AX, AX
	JMP  ok

await:
	MOVQ op_arg+0(OP), AX
	MOVQ AX, page_in(PAGE)
	MOVQ op_arg+8(OP), AX
	MOVQ AX, page_out(PAGE)
	XORL AX, AX
	JMP  ok

wait:
	MOVQ page_in(PAGE), DI
	LEAQ page_buf(PAGE), SI
	MOVL $1, DX
	CALL3(const_sysRead)
	CMPQ AX, $const_lastErrno
	JCC  negative
	CMPQ AX, $1
	JNE  gone                // the host is

ok:
	MOVWLZX op_out(OP), CX
	TESTL   CX, CX
	JEQ     skip
	MOVQ    AX, (REGS)(CX*8)

skip:
	MOVWLZX op_skipOK(OP), CX
	LEAQ    1(INDEX)(CX*1), INDEX
	JMP     next

negative:
	NEGQ AX

failed:
	MOVWLZX op_call(OP), CX
	CMPL    CX, $const_noCall
	JEQ     allowed
	MOVQ    head_errs(HEAD), DX
	MOVW    AX, (DX)(CX*2)

allowed:
	MOVBLZX op_allow+0(OP), DX
	CMPL    AX, DX
	JEQ     jump
	MOVBLZX op_allow+1(OP), DX
	CMPL    AX, DX
	JEQ     jump
	MOVBLZX op_allow+2(OP), DX
	CMPL    AX, DX
	JEQ     jump
	MOVL    CX, page_call(PAGE)
	MOVL    AX, page_errno(PAGE)
	CMPB    op_filtered(OP), $0
	JNE     tell
	JMP     fail

jump:
	MOVWLZX op_skipErr(OP), CX
	LEAQ    1(INDEX)(CX*1), INDEX
	JMP     next

	// Tell the host, and wait for it to have looked: it finds out why an exec
	// failed in the container's tree, which is there as long as we are.
fail:
	CMPQ head_open(HEAD), $0
	JEQ  tell
	MOVL $const_setDumpable, DI
	MOVL $1, SI
	CALL3(const_sysPrctl)

tell:
	MOVB $'f', page_buf(PAGE)
	MOVQ page_out(PAGE), DI
	LEAQ page_buf(PAGE), SI
	MOVL $1, DX
	CALL3(const_sysWrite)

	// what the host has sent before it heard is no leave to go
look:
	MOVQ page_in(PAGE), DI
	LEAQ page_buf(PAGE), SI
	MOVL $1, DX
	CALL3(const_sysRead)
	CMPQ AX, $1
	JEQ  look
	CMPQ AX, $-const_eintr
	JEQ  look

gone:
	MOVL $1, DI
	JMP  exit

notrun:
	MOVL $const_notRun, DI

exit:
	CALL3(const_sysExit)
	JMP exit

// func sealedEnd()
TEXT ·sealedEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func sealedText() (start, end uintptr)
TEXT ·sealedText(SB), NOSPLIT, $0-16
	LEAQ ·sealed(SB), AX
	MOVQ AX, start+0(FP)
	LEAQ ·sealedEnd(SB), AX
	MOVQ AX, end+8(FP)
	RET
