// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <kvmfork/guest.h>

#include "clock.h"
#include "device.h"
#include "identity.h"
#include "vm.h"

uint64_t identity_now(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

static int identity_write(struct vm *vm, uint64_t gpa, uint64_t elapsed)
{
	struct kvmfork_identity identity = {
		.magic = KVMFORK_IDENTITY_MAGIC,
		.generation = vm->identity.generation,
		.id = vm->id,
		.elapsed_ns = elapsed,
	};

	/* Up to 256 bytes come whole once the host's generator is ready. */
	if (getrandom(identity.random, sizeof(identity.random), 0) != sizeof(identity.random))
		return -EIO;
	return memory_write(vm, gpa, &identity, sizeof(identity));
}

int64_t identity_register(struct vm *vm, uint64_t gpa)
{
	int64_t ret = 0;

	if (gpa != KVMFORK_IDENTITY_NONE && gpa % sizeof(uint64_t))
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (gpa != KVMFORK_IDENTITY_NONE)
		ret = identity_write(vm, gpa, 0);
	if (!ret) {
		vm->identity.wanted = gpa != KVMFORK_IDENTITY_NONE;
		vm->identity.gpa = gpa;
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

int identity_renew(struct vm *vm, uint64_t frozen)
{
	int ret;

	vm->identity.generation++;
	ret = device_renew_all(vm);
	if (ret || !vm->identity.wanted)
		return ret;
	return identity_write(vm, vm->identity.gpa, identity_now() - frozen);
}
