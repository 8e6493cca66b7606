// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences of forks, resets, writes, holes and closings against a plain
 * model of them. KVMFORK_TEST_SEED repeats one.
 */
#include <fcntl.h>

#include "access.h"
#include "fork.h"
#include "harness.h"

#define MAX_VMS		8
#define MAX_TEMPLATES	4
#define PAGES		24

/* Pages of a VM or template; 0: hole or zero. */
struct model {
	bool used;
	int template_fd;
	struct vm vm;
	uint8_t pages[PAGES];
};

FIXTURE(model) {
	struct model vms[MAX_VMS];
	struct model templates[MAX_TEMPLATES];
	struct vm shape;
	uint64_t random;
	unsigned long forks, resets, writes, punches, closings;
};

FIXTURE_VARIANT(model) {
	unsigned int nr_vcpus;
	unsigned long steps;
};

/* Without vCPUs a fork is cheap: nothing but memory. */
FIXTURE_VARIANT_ADD(model, memory_alone) { .nr_vcpus = 0, .steps = 3000 };
FIXTURE_VARIANT_ADD(model, with_guest) { .nr_vcpus = 1, .steps = 600 };

FIXTURE_SETUP(model)
{
	const char *seed = getenv("KVMFORK_TEST_SEED");

	self->random = seed ? strtoull(seed, NULL, 0) : test_now_ns() | 1;
	fprintf(stderr, "# KVMFORK_TEST_SEED=0x%llx\n", (unsigned long long)self->random);
	vm_create_default(&self->vms[0].vm, VM_IRQCHIP_NONE, variant->nr_vcpus);
	self->vms[0].used = true;
	self->shape = self->vms[0].vm;
}

static void model_close(struct model *model)
{
	if (model->template_fd > 0)
		close(model->template_fd);
	else
		vm_close(&model->vm);
	memset(model, 0, sizeof(*model));
}

FIXTURE_TEARDOWN(model)
{
	for (int i = 0; i < MAX_VMS; i++)
		if (self->vms[i].used)
			model_close(&self->vms[i]);
	for (int i = 0; i < MAX_TEMPLATES; i++)
		if (self->templates[i].used)
			model_close(&self->templates[i]);
}

/* xorshift64* */
static unsigned int pick(FIXTURE_DATA(model) *self, unsigned int below)
{
	self->random ^= self->random >> 12;
	self->random ^= self->random << 25;
	self->random ^= self->random >> 27;
	return (self->random * 0x2545f4914f6cdd1dULL >> 33) % below;
}

static struct model *pick_one(FIXTURE_DATA(model) *self, struct model *models, unsigned int nr,
			      bool used)
{
	unsigned int start = pick(self, nr);

	for (unsigned int i = 0; i < nr; i++) {
		struct model *model = &models[(start + i) % nr];

		if (model->used == used)
			return model;
	}
	return NULL;
}

static unsigned int vms_used(FIXTURE_DATA(model) *self)
{
	unsigned int used = 0;

	for (int i = 0; i < MAX_VMS; i++)
		used += self->vms[i].used;
	return used;
}

static enum access pick_access(FIXTURE_DATA(model) *self, const struct model *model)
{
	return pick(self, model->vm.nr_vcpus ? ACCESS_METHODS : ACCESS_GUEST);
}

static void step_fork(FIXTURE_DATA(model) *self, struct model *vm)
{
	struct model *other = pick_one(self, self->vms, MAX_VMS, false);

	if (!other)
		return;
	vm_fork(&vm->vm, &other->vm);
	memcpy(other->pages, vm->pages, PAGES);
	other->used = true;
	self->forks++;
}

static void step_freeze(FIXTURE_DATA(model) *self, struct model *vm)
{
	struct model *other = pick_one(self, self->templates, MAX_TEMPLATES, false);

	if (!other)
		return;
	other->template_fd = vm_freeze(&vm->vm);
	memcpy(other->pages, vm->pages, PAGES);
	other->used = true;
}

static void step_spawn(FIXTURE_DATA(model) *self)
{
	struct model *template = pick_one(self, self->templates, MAX_TEMPLATES, true);
	struct model *other = pick_one(self, self->vms, MAX_VMS, false);
	struct vm shape = self->shape;
	struct fork_call call;

	if (!template || !other)
		return;
	spawn_call_init(&call);
	TEST_REQUIRE(!fork_call_spawn(&call, template->template_fd), "spawn: %s", call.message);
	/* All VMs are alike but for where their memory is mapped. */
	shape.slots[0].hva = (char *)(unsigned long)call.mappings[0].parent_address;
	fork_call_child(&call, &shape, &other->vm);
	memcpy(other->pages, template->pages, PAGES);
	other->used = true;
	self->forks++;
}

static void step_reset(FIXTURE_DATA(model) *self, struct model *vm)
{
	struct model *template = pick_one(self, self->templates, MAX_TEMPLATES, true);

	if (!template)
		return;
	vm_reset(&vm->vm, template->template_fd);
	memcpy(vm->pages, template->pages, PAGES);
	self->resets++;
}

static void step_write(FIXTURE_DATA(model) *self, struct model *vm)
{
	unsigned int page = pick(self, PAGES);
	uint8_t value = 1 + pick(self, 255);

	access_write(&vm->vm, pick_access(self, vm), GUEST_DATA + page * PAGE_SIZE, value);
	vm->pages[page] = value;
	self->writes++;
}

static void step_punch(FIXTURE_DATA(model) *self, struct model *vm)
{
	unsigned int page = pick(self, PAGES);

	access_punch(&vm->vm, GUEST_DATA + page * PAGE_SIZE);
	vm->pages[page] = 0;
	self->punches++;
}

static bool model_holds(FIXTURE_DATA(model) *self, struct model *vm, unsigned int page)
{
	enum access how = pick_access(self, vm);
	uint8_t value = access_read(&vm->vm, how, GUEST_DATA + page * PAGE_SIZE);

	if (value == vm->pages[page])
		return true;
	fprintf(stderr, "# page %u by %s: %u instead of %u\n", page, access_names[how], value,
		vm->pages[page]);
	return false;
}

static bool all_hold(FIXTURE_DATA(model) *self)
{
	bool hold = true;

	for (int i = 0; i < MAX_VMS; i++)
		for (unsigned int page = 0; self->vms[i].used && page < PAGES; page++)
			hold &= model_holds(self, &self->vms[i], page);
	return hold;
}

static void step(FIXTURE_DATA(model) *self)
{
	struct model *vm = pick_one(self, self->vms, MAX_VMS, true);
	struct model *template;

	switch (pick(self, 22)) {
	case 0 ... 1:
		step_fork(self, vm);
		break;
	case 2:
		step_freeze(self, vm);
		break;
	case 3:
		step_spawn(self);
		break;
	case 4 ... 5:
		if (vms_used(self) > 1) {
			model_close(vm);
			self->closings++;
		}
		break;
	case 6:
		template = pick_one(self, self->templates, MAX_TEMPLATES, true);
		if (template && pick(self, 2))
			model_close(template);
		break;
	case 7 ... 8:
		step_punch(self, vm);
		break;
	case 9 ... 10:
		step_reset(self, vm);
		break;
	default:
		step_write(self, vm);
	}
}

TEST_F(model, random_walk)
{
	unsigned long steps = test_scaled(variant->steps);

	for (unsigned long i = 0; i < steps; i++) {
		struct model *vm;

		step(self);
		vm = pick_one(self, self->vms, MAX_VMS, true);
		ASSERT_TRUE(model_holds(self, vm, pick(self, PAGES)))
			TH_LOG("step %lu", i);
		if (i % 50 == 49) {
			ASSERT_TRUE(all_hold(self))
				TH_LOG("step %lu", i);
		}
	}
	ASSERT_TRUE(all_hold(self));
	TH_LOG("%lu steps: %lu forks, %lu resets, %lu writes, %lu holes, %lu closings", steps,
	       self->forks, self->resets, self->writes, self->punches, self->closings);
}

TEST_HARNESS_MAIN
