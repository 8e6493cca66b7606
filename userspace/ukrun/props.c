// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "log.h"
#include "props.h"

/* Up to the next single comma; returns what is behind it, null at the end. */
static const char *props_word_end(const char *arg, char *word)
{
	for (; *arg; arg++) {
		if (*arg == ',' && arg[1] != ',') {
			*word = '\0';
			return arg + 1;
		}
		arg += *arg == ',';
		*word++ = *arg;
	}
	*word = '\0';
	return NULL;
}

static void props_append(struct props *props, char *key, char *value)
{
	struct prop *prop = xcalloc(1, sizeof(*prop));
	struct prop **at;

	prop->key = key;
	prop->value = value;
	for (at = &props->list; *at; at = &(*at)->next)
		;
	*at = prop;
}

struct props *props_add(struct props **list, const char *option, const char *arg,
			const char *first)
{
	struct props *props = xcalloc(1, sizeof(*props));
	char *word, *equals;

	props->option = option;
	while (arg) {
		word = xcalloc(1, strlen(arg) + 1);
		arg = props_word_end(arg, word);
		equals = strchr(word, '=');
		if (equals) {
			*equals = '\0';
			props_append(props, word, equals + 1);
		} else if (first && !props->list) {
			props_append(props, xasprintf("%s", first), word);
		} else if (*word) {
			props_append(props, word, xasprintf("on"));
		} else {
			die("%s: an empty word between commas, or no argument", option);
		}
	}
	while (*list)
		list = &(*list)->next;
	*list = props;
	return props;
}

const char *props_take(struct props *props, const char *key)
{
	struct prop *prop;

	for (prop = props->list; prop; prop = prop->next) {
		if (prop->taken || strcmp(prop->key, key))
			continue;
		prop->taken = true;
		return prop->value;
	}
	return NULL;
}

const char *props_get(struct props *props, const char *key)
{
	const char *value = props_take(props, key);

	if (value && props_take(props, key))
		die("%s: %s is there twice", props->option, key);
	return value;
}

const char *props_need(struct props *props, const char *key)
{
	const char *value = props_get(props, key);

	if (!value || !*value)
		die("%s: needs %s=", props->option, key);
	return value;
}

bool props_bool(struct props *props, const char *key, bool otherwise)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "n", "y" };
	const char *value = props_get(props, key);
	unsigned int i;

	if (!value)
		return otherwise;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(value, words[i]))
			return i & 1;
	die("%s: %s=%s: on or off", props->option, key, value);
}

const char *props_word(struct props *props, const char *key, const char *words,
		       const char *otherwise)
{
	const char *value = props_get(props, key);
	const char *at = words;
	size_t size;

	if (!value)
		return otherwise;
	size = strlen(value);
	while (size && (at = strstr(at, value))) {
		if ((at == words || at[-1] == ' ') && (!at[size] || at[size] == ' '))
			return value;
		at += size;
	}
	die("%s: %s=%s: ukrun knows: %s", props->option, key, value, words);
}

void props_finish(const struct props *props)
{
	const struct prop *prop;

	for (prop = props->list; prop; prop = prop->next)
		if (!prop->taken)
			die("%s: ukrun does not know %s=%s here: see docs/ukrun.md", props->option,
			    prop->key, prop->value);
}

struct props *props_find(struct props *list, const char *id)
{
	const struct prop *prop;

	for (; list; list = list->next)
		for (prop = list->list; prop; prop = prop->next)
			if (!strcmp(prop->key, "id") && !strcmp(prop->value, id))
				return list;
	return NULL;
}
