// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cloning without a kernel module: guest memory in a memfd, a new VM over a
 * private mapping of it, all state set by KVM's calls. A parent that goes on
 * has its memory copied for each clone, as its later writes would be seen in a
 * mapping of it; a dead one had it in a memfd to begin with.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "method.h"
#include "userspace_state.h"

struct userspace_image {
	struct userspace_state state;
	int memfd;
};

static void image_setup(struct method_state *state)
{
	state->image = malloc(sizeof(*state->image));
	TEST_REQUIRE(state->image, "memory for the image of a VM: %m");
	userspace_state_init(&state->image->state, state->parent);
}

static void image_teardown(struct method_state *state)
{
	free(state->image);
}

static uint64_t memory_size(const struct vm *vm)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < vm->nr_slots; i++)
		size += vm->slots[i].size;
	return size;
}

static void memory_write(int memfd, const struct vm_slot *slot)
{
	uint64_t done = 0;

	while (done < slot->size) {
		/* As much as there is room for in one call. */
		ssize_t ret = pwrite(memfd, slot->hva + done, slot->size - done,
				     slot->offset + done);

		TEST_REQUIRE(ret > 0, "writing guest memory to a memfd: %m");
		done += ret;
	}
}

static int memory_copy(const struct vm *vm)
{
	int memfd = memfd_create("snapshot", MFD_CLOEXEC);

	TEST_REQUIRE(memfd >= 0 && !ftruncate(memfd, memory_size(vm)), "memfd: %m");
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		memory_write(memfd, &vm->slots[i]);
	return memfd;
}

static void image_clone(struct userspace_image *image, const struct vm *parent,
			struct vm *clone)
{
	char *hva = mmap(NULL, memory_size(parent), PROT_READ | PROT_WRITE, MAP_PRIVATE,
			 image->memfd, 0);

	TEST_REQUIRE(hva != MAP_FAILED, "private mapping of guest memory: %m");
	vm_create(clone, VM_IRQCHIP_KERNEL);
	for (unsigned int i = 0; i < parent->nr_slots; i++) {
		const struct vm_slot *slot = &parent->slots[i];

		vm_slot_add(clone, slot->flags, slot->gpa, slot->size, hva + slot->offset, -1,
			    slot->offset);
	}
	userspace_state_load(&image->state, clone, parent->nr_vcpus);
}

static void userspace_clone_live(struct method_state *state, struct vm *clone)
{
	struct userspace_image *image = state->image;

	userspace_state_save(&image->state, state->parent);
	image->memfd = memory_copy(state->parent);
	image_clone(image, state->parent, clone);
	/* The mapping has it. */
	close(image->memfd);
}

static void userspace_release(struct method_state *state, struct vm *clone)
{
	(void)state;
	vm_close(clone);
}

const struct method method_userspace_live = {
	.name = "userspace, live parent",
	.memory = SUBJECT_ANONYMOUS,
	.copies = true,
	.setup = image_setup,
	.clone = userspace_clone_live,
	.release = userspace_release,
	.teardown = image_teardown,
};

static void userspace_setup(struct method_state *state)
{
	image_setup(state);
	userspace_state_save(&state->image->state, state->parent);
	state->image->memfd = state->parent->slots[0].memory_fd;
}

static void userspace_clone(struct method_state *state, struct vm *clone)
{
	image_clone(state->image, state->parent, clone);
}

const struct method method_userspace = {
	.name = "userspace",
	.memory = SUBJECT_MEMFD,
	.setup = userspace_setup,
	.clone = userspace_clone,
	.release = userspace_release,
	.teardown = image_teardown,
};
