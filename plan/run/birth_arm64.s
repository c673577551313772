// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// The child runs on its parent's stack, and writes nothing to it; it leaves by
// the exec or by the exit, and never returns.

// func bear(b *birth) (pid, errno uintptr)
TEXT ·bear(SB), NOSPLIT|NOFRAME, $0-24
	MOVD b+0(FP), R19
	MOVD birth_nr(R19), R8
	MOVD birth_arg+0(R19), R0
	MOVD birth_arg+8(R19), R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $0, R5
	SVC
	CBZ  R0, child
	CMN  $4095, R0
	BHS  failed
	MOVD R0, pid+8(FP)
	MOVD ZR, errno+16(FP)
	RET

failed:
	NEG  R0, R0
	MOVD ZR, pid+8(FP)
	MOVD R0, errno+16(FP)
	RET

child:
	MOVD birth_fds(R19), R20

fds:
	MOVW (R20), R0
	TBNZ $31, R0, caps
	MOVD $const_setfd, R1
	MOVD $0, R2
	MOVD $const_sysFcntl, R8
	SVC
	ADD  $4, R20
	B    fds

caps:
	MOVD birth_caps(R19), R0
	CBZ  R0, exec
	ADD  $8, R0, R1
	MOVD $const_sysCapset, R8
	SVC
	MOVD $0, R20

ambient:
	MOVD $const_capAmbient, R0
	MOVD $const_ambientUp, R1
	MOVD R20, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $const_sysPrctl, R8
	SVC
	CMN  $const_einval, R0 // the kernel has no more of them
	BEQ  exec
	ADD  $1, R20
	CMP  $64, R20
	BLT  ambient

exec:
	MOVD birth_image(R19), R0
	MOVD birth_path(R19), R1
	MOVD birth_argv(R19), R2
	MOVD birth_envp(R19), R3
	MOVD $const_emptyPath, R4
	MOVD $const_sysExecveat, R8
	SVC
	NEG  R0, R0
	MOVD birth_page(R19), R1
	MOVW R0, page_exec(R1)

exit:
	MOVD $const_notRun, R0
	MOVD $const_sysExit, R8
	SVC
	B    exit
