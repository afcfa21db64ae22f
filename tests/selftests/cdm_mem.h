/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory of a known shape and content, and where its pages lie.
 */
#ifndef CDM_MEM_H
#define CDM_MEM_H

#include "cdm_test.h"

/*
 * Memory. cdm_map() gives private anonymous memory aligned to the window, in
 * base pages; cdm_map_thp() @count huge pages with all words set to cdm_word()
 * of @seed, or NULL where the machine gives none.
 */
void *cdm_map(const struct cdm *cdm, size_t length);
void *cdm_map_thp(size_t count, __u64 seed);
size_t cdm_thp_size(void);
void *cdm_map_hugetlb(size_t *length);

/* A file in /var/tmp or on tmpfs, deleted, with the pattern of @seed in it. */
int cdm_pattern_file(bool tmpfs, size_t length, __u64 seed);

/*
 * Patterns: 64-bit words that differ from each other and from those of
 * another seed. The checks return the offset of the first wrong byte, or -1.
 */
__u64 cdm_word(__u64 seed, size_t i);
__u64 cdm_word_sum(__u64 seed, size_t words);
void cdm_fill(void *addr, size_t length, __u64 seed);
ssize_t cdm_check(const void *addr, size_t length, __u64 seed);
ssize_t cdm_check_value(const void *addr, size_t length, __u64 value);

/*
 * Page frames, as /proc/self/pagemap gives them to root: zero where there is
 * no page. Needs the file's INFO for where the node lies.
 */
int cdm_pfns(const void *addr, size_t length, __u64 *pfns);
__u64 cdm_pfn(const void *addr);
size_t cdm_present(const void *addr, size_t length);
size_t cdm_on_node(const struct cdm *cdm, const void *addr, size_t length);
bool cdm_pfn_on_node(const struct cdm *cdm, __u64 pfn);

/* Numbers out of /proc: kB of @field, pages of RSS. Negative if there is none */
long cdm_meminfo(const char *field);
long cdm_smaps(const void *addr, const char *field);
long cdm_rss(void);

#endif /* CDM_MEM_H */
