/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arguments of the form `word,key=value,key=value`, as -drive and -device
 * have. Who asks for a key takes it; what nobody has asked for is an error
 * that names it.
 */
#ifndef UKRUN_PROPS_H
#define UKRUN_PROPS_H

#include <stdbool.h>
#include <stdint.h>

struct prop {
	char *key;
	char *value;
	bool taken;
	struct prop *next;
};

struct props {
	const char *option;	/* for messages */
	struct prop *list;
	bool used;		/* its owner's: something refers to it */
	struct props *next;
};

/*
 * Parse @arg and append it to @list. A first word without `=` is the value of
 * @first (null: there is none), any other means `on`; two commas are one that
 * separates nothing.
 */
struct props *props_add(struct props **list, const char *option, const char *arg,
			const char *first);

/* Null when it is not there. Dies when it is there twice. */
const char *props_get(struct props *props, const char *key);
/* The same, one of several after the other: null after the last. */
const char *props_take(struct props *props, const char *key);
/* Dies when there is none. */
const char *props_need(struct props *props, const char *key);
/* on, off and what else QEMU takes for them. */
bool props_bool(struct props *props, const char *key, bool otherwise);
/* One of the words in @words, which blanks separate, or @otherwise. */
const char *props_word(struct props *props, const char *key, const char *words,
		       const char *otherwise);
/* All that is left is unknown: dies. */
void props_finish(const struct props *props);

/* The one with `id` @id, or null. */
struct props *props_find(struct props *list, const char *id);

#endif
