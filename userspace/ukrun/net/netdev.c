// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "log.h"
#include "net/netdev.h"
#include "option.h"
#include "props.h"
#include "vm.h"

extern const struct netdev_type *const __start_ukrun_netdevs[];
extern const struct netdev_type *const __stop_ukrun_netdevs[];

static void netdev_option(struct vm *vm, const char *arg)
{
	props_add(&vm->config.netdevs, "-netdev", arg, "type");
}

DECLARE_OPTION(netdev, {
	.name = "netdev",
	.arg = "TYPE,id=ID[,...]",
	.help = "user (hostfwd=, clone=) or tap (ifname=, clone=, vhost=); docs/ukrun.md",
	.handle = netdev_option,
});

static const struct netdev_type *netdev_find(const char *name)
{
	const struct netdev_type *const *type;

	for (type = __start_ukrun_netdevs; type < __stop_ukrun_netdevs; type++)
		if (!strcmp((*type)->name, name))
			return *type;
	die("-netdev %s: no such network: there are user and tap", name);
}

struct netdev *netdev_open(struct vm *vm, const char *id)
{
	struct props *props = props_find(vm->config.netdevs, id);
	struct netdev *netdev = xcalloc(1, sizeof(*netdev));

	if (!props)
		die("-device: netdev=%s: there is no -netdev with id=%s", id, id);
	if (props->used)
		die("-device: netdev=%s: another device has that network", id);
	props->used = true;
	netdev->vm = vm;
	netdev->id = props_need(props, "id");
	netdev->type = netdev_find(props_need(props, "type"));
	netdev->type->create(netdev, props);
	props_finish(props);
	return netdev;
}
