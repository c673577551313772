// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// The child runs on its parent's stack, and writes nothing to it; it leaves by
// the exec or by the exit, and never returns.

// func bear(b *birth) (pid, errno uintptr)
TEXT ·bear(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ  b+0(FP), R12
	MOVQ  birth_nr(R12), AX
	MOVQ  birth_arg+0(R12), DI
	MOVQ  birth_arg+8(R12), SI
	XORL  DX, DX
	XORL  R10, R10
	XORL  R8, R8
	XORL  R9, R9
	SYSCALL
	TESTQ AX, AX
	JEQ   child
	CMPQ  AX, $const_lastErrno
	JCC   failed
	MOVQ  AX, pid+8(FP)
	MOVQ  $0, errno+16(FP)
	RET

failed:
	NEGQ AX
	MOVQ $0, pid+8(FP)
	MOVQ AX, errno+16(FP)
	RET

child:
	MOVQ birth_fds(R12), R13

fds:
	MOVLQSX (R13), DI
	TESTQ   DI, DI
	JLT     caps
	MOVL    $const_setfd, SI
	XORL    DX, DX
	MOVL    $const_sysFcntl, AX
	SYSCALL
	ADDQ    $4, R13
	JMP     fds

caps:
	MOVQ  birth_caps(R12), DI
	TESTQ DI, DI
	JEQ   exec
	LEAQ  8(DI), SI
	MOVL  $const_sysCapset, AX
	SYSCALL
	XORL  R13, R13

ambient:
	MOVL $const_capAmbient, DI
	MOVL $const_ambientUp, SI
	MOVQ R13, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $const_sysPrctl, AX
	SYSCALL
	CMPQ AX, $-const_einval  // the kernel has no more of them
	JEQ  exec
	INCQ R13
	CMPQ R13, $64
	JLT  ambient

exec:
	MOVQ birth_image(R12), DI
	MOVQ birth_path(R12), SI
	MOVQ birth_argv(R12), DX
	MOVQ birth_envp(R12), R10
	MOVL $const_emptyPath, R8
	MOVL $const_sysExecveat, AX
	SYSCALL
	NEGQ AX
	MOVQ birth_page(R12), CX
	MOVL AX, page_exec(CX)

exit:
	MOVL $const_notRun, DI
	MOVL $const_sysExit, AX
	SYSCALL
	JMP  exit
