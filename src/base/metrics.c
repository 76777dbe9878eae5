#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
	MAX_LABELS = 4,
	MAX_BUCKETS = 16,
	MAX_WORDS = 50,    /* values of a label that are told apart */
	MAX_WORD = 160,    /* bytes of one */
	MAX_SERIES = 2000, /* of a family; further ones are `other` in all their labels */
};

enum kind { COUNTER, GAUGE, HISTOGRAM };

#define LABELS(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define BUCKETS(...) LABELS(__VA_ARGS__)
#define NO_LABELS    LABELS(NULL)
#define NO_BUCKETS   LABELS(0)

static const struct family {
	enum kind kind;
	const char *name;
	const char *labels[MAX_LABELS + 1];
	double buckets[MAX_BUCKETS + 1]; /* ends with 0 */
	const char *help;
} families[] = {
#define METRIC(id, kind, name, labels, buckets, help) {kind, name, labels, buckets, help},
#include "base/metrics.def"
};

/* What a label's values have been so far. Its place in the list stands for a word in a series;
 * MAX_WORDS stands for `other`. */
struct words {
	char *list[MAX_WORDS];
	size_t count;
};

struct series {
	unsigned char labels[MAX_LABELS];
	double *values; /* one; of a histogram a count for each bucket, one for +Inf, the sum */
};

struct block {
	struct words words[MAX_LABELS];
	struct series *series;
	size_t count;
};

struct metrics {
	pthread_mutex_t lock;
	struct block blocks[METRIC_COUNT];
};

static const char other[] = "other";

static size_t count_labels(const struct family *family)
{
	size_t count = 0;

	while (family->labels[count])
		count++;
	return count;
}

static size_t count_buckets(const struct family *family)
{
	size_t count = 0;

	while (family->buckets[count] > 0)
		count++;
	return count;
}

static size_t count_values(const struct family *family)
{
	return family->kind == HISTOGRAM ? count_buckets(family) + 2 : 1;
}

/* ---- Series. */

/* Cut, and well-formed UTF-8, which the text format wants; before words are compared, so that no
 * two look alike. */
static void make_word(const char *text, char *ret)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t left = strlen(text), len = 0;

	while (left > 0) {
		size_t sequence = *p < 0x80 ? 1 : utf8_sequence(p, left);
		const char *bytes = sequence ? (const char *)p : "\xef\xbf\xbd"; /* U+FFFD */
		size_t size = sequence ? sequence : 3;

		if (len + size > MAX_WORD)
			break;
		memcpy(ret + len, bytes, size);
		len += size;
		p += sequence ? sequence : 1;
		left -= sequence ? sequence : 1;
	}
	ret[len] = '\0';
}

static unsigned char find_word(struct words *words, const char *text)
{
	char word[MAX_WORD + 1];
	size_t i = 0;

	make_word(text, word);
	if (str_same(word, other))
		return MAX_WORDS;
	while (i < words->count && !str_same(words->list[i], word))
		i++;
	if (i == words->count && i < MAX_WORDS)
		words->list[words->count++] = xstrdup(word);
	return (unsigned char)i;
}

static const char *word_of(const struct words *words, unsigned char place)
{
	return place < words->count ? words->list[place] : other;
}

static double *find_values(struct block *block, const unsigned char *labels)
{
	for (size_t i = 0; i < block->count; i++) {
		if (memcmp(block->series[i].labels, labels, MAX_LABELS) == 0)
			return block->series[i].values;
	}
	return NULL;
}

static double *new_values(
	struct block *block, const struct family *family, const unsigned char *labels)
{
	struct series *series;

	block->series = xrealloc(block->series, (block->count + 1) * sizeof(*block->series));
	series = &block->series[block->count++];
	memcpy(series->labels, labels, MAX_LABELS);
	series->values = xcalloc(count_values(family), sizeof(double));
	return series->values;
}

static double *values_of(struct metrics *metrics, enum metric metric, const char *const *labels)
{
	struct block *block = &metrics->blocks[metric];
	const struct family *family = &families[metric];
	size_t count = count_labels(family);
	unsigned char places[MAX_LABELS] = {0};
	double *values;

	for (size_t i = 0; i < count; i++)
		places[i] = find_word(&block->words[i], labels[i]);
	values = find_values(block, places);
	if (!values && block->count >= MAX_SERIES) {
		memset(places, MAX_WORDS, count);
		values = find_values(block, places);
	}
	return values ? values : new_values(block, family, places);
}

/* ---- Life. */

/* A family without labels has its one series from the start. */
static void begin(struct metrics *metrics)
{
	static const char *const none[MAX_LABELS] = {NULL};

	for (size_t i = 0; i < METRIC_COUNT; i++) {
		if (!count_labels(&families[i]))
			values_of(metrics, (enum metric)i, none);
	}
}

static void clear_block(struct block *block)
{
	for (size_t i = 0; i < block->count; i++)
		free(block->series[i].values);
	for (size_t i = 0; i < MAX_LABELS; i++) {
		for (size_t j = 0; j < block->words[i].count; j++)
			free(block->words[i].list[j]);
	}
	free(block->series);
	*block = (struct block){.count = 0};
}

struct metrics *metrics_new(void)
{
	struct metrics *metrics = xcalloc(1, sizeof(*metrics));

	pthread_mutex_init(&metrics->lock, NULL);
	begin(metrics);
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < METRIC_COUNT; i++)
		clear_block(&metrics->blocks[i]);
	pthread_mutex_destroy(&metrics->lock);
	free(metrics);
}

void metrics_clear(struct metrics *metrics)
{
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		struct block *block = &metrics->blocks[i];

		if (families[i].kind == GAUGE)
			clear_block(block);
		for (size_t j = 0; j < block->count; j++)
			memset(block->series[j].values, 0,
				count_values(&families[i]) * sizeof(double));
	}
	begin(metrics);
}

/* ---- Counting. */

void metrics_add(
	struct metrics *metrics, enum metric metric, const char *const *labels, double amount)
{
	assert(families[metric].kind != HISTOGRAM);
	if (!metrics)
		return;
	pthread_mutex_lock(&metrics->lock);
	*values_of(metrics, metric, labels) += amount;
	pthread_mutex_unlock(&metrics->lock);
}

void metrics_observe(
	struct metrics *metrics, enum metric metric, const char *const *labels, double value)
{
	const struct family *family = &families[metric];
	size_t count = count_buckets(family), bucket = 0;
	double *values;

	assert(family->kind == HISTOGRAM);
	if (!metrics)
		return;
	while (bucket < count && value > family->buckets[bucket])
		bucket++;
	pthread_mutex_lock(&metrics->lock);
	values = values_of(metrics, metric, labels);
	values[bucket]++;
	values[count + 1] += value;
	pthread_mutex_unlock(&metrics->lock);
}

static void merge_block(struct metrics *into, const struct block *from, enum metric metric)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct series *series = &from->series[i];
		const char *labels[MAX_LABELS];
		double *values;

		for (size_t j = 0; j < MAX_LABELS; j++)
			labels[j] = word_of(&from->words[j], series->labels[j]);
		values = values_of(into, metric, labels);
		for (size_t j = 0; j < count_values(&families[metric]); j++)
			values[j] += series->values[j];
	}
}

void metrics_merge(struct metrics *into, struct metrics *from)
{
	pthread_mutex_lock(&from->lock);
	for (size_t i = 0; i < METRIC_COUNT; i++)
		merge_block(into, &from->blocks[i], (enum metric)i);
	pthread_mutex_unlock(&from->lock);
}

/* ---- The text format. */

static void render_number(struct str *out, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	str_add(out, text);
}

static void render_label(struct str *out, const char *name, const char *value)
{
	str_addf(out, "%s%s=\"", out->data[out->len - 1] == '{' ? "" : ",", name);
	for (; *value; value++) {
		if (*value == '\n') {
			str_add(out, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			str_add_char(out, '\\');
		str_add_char(out, *value);
	}
	str_add_char(out, '"');
}

struct sample {
	const struct family *family;
	const struct block *block;
	const struct series *series;
};

/* `suffix`: of a histogram's parts; `le`: of its buckets; NULL: none. */
static void render_sample(struct str *out, const struct sample *sample, const char *suffix,
	const char *le, double value)
{
	const struct family *family = sample->family;

	str_addf(out, "%s%s", family->name, suffix);
	if (family->labels[0] || le) {
		str_add_char(out, '{');
		for (size_t i = 0; family->labels[i]; i++)
			render_label(out, family->labels[i],
				word_of(&sample->block->words[i], sample->series->labels[i]));
		if (le)
			render_label(out, "le", le);
		str_add_char(out, '}');
	}
	str_add_char(out, ' ');
	render_number(out, value);
	str_add_char(out, '\n');
}

static void render_histogram(struct str *out, const struct sample *sample)
{
	const double *values = sample->series->values;
	size_t count = count_buckets(sample->family);
	double sum = 0;

	for (size_t i = 0; i < count; i++) {
		char le[32];

		snprintf(le, sizeof(le), "%g", sample->family->buckets[i]);
		sum += values[i];
		render_sample(out, sample, "_bucket", le, sum);
	}
	sum += values[count];
	render_sample(out, sample, "_bucket", "+Inf", sum);
	render_sample(out, sample, "_sum", NULL, values[count + 1]);
	render_sample(out, sample, "_count", NULL, sum);
}

void metrics_render(const struct metrics *metrics, struct str *out)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};

	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct family *family = &families[i];
		const struct block *block = &metrics->blocks[i];

		str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
			family->name, kinds[family->kind]);
		for (size_t j = 0; j < block->count; j++) {
			struct sample sample = {family, block, &block->series[j]};

			if (family->kind == HISTOGRAM)
				render_histogram(out, &sample);
			else
				render_sample(out, &sample, "", NULL, sample.series->values[0]);
		}
	}
}
