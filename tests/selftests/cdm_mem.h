/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory with known mapping and content, and the location of its pages.
 */
#ifndef CDM_MEM_H
#define CDM_MEM_H

#include "cdm_calls.h"

/*
 * cdm_map() returns private anonymous memory in base pages, aligned to the
 * window. cdm_map_thp() returns @count huge pages filled with the pattern of
 * @seed, or NULL if the machine gives none.
 */
void *cdm_map(const struct cdm *cdm, size_t length);
void *cdm_map_thp(size_t count, __u64 seed);
size_t cdm_thp_size(void);
void *cdm_map_hugetlb(size_t *length);

/*
 * Maps memory with a pattern and moves it to the node; NULL if some did not
 * move.
 */
char *cdm_map_on_node(const struct cdm *cdm, size_t length, __u64 seed);

/* An unlinked file with the pattern of @seed, on tmpfs or in /var/tmp. */
int cdm_pattern_file(bool tmpfs, size_t length, __u64 seed);

/*
 * Patterns: 64-bit words that are all different, also between seeds. The checks
 * return the offset of the first wrong byte, or -1.
 */
__u64 cdm_word(__u64 seed, size_t i);
__u64 cdm_word_sum(__u64 seed, size_t words);
void cdm_fill(void *addr, size_t length, __u64 seed);
ssize_t cdm_check(const void *addr, size_t length, __u64 seed);
ssize_t cdm_check_value(const void *addr, size_t length, __u64 value);

/*
 * Page frames from /proc/self/pagemap, which shows them to root only; zero
 * where no page is present. The node's range is from the file's INFO.
 */
int cdm_pfns(const void *addr, size_t length, __u64 *pfns);
__u64 cdm_pfn(const void *addr);
size_t cdm_present(const void *addr, size_t length);
size_t cdm_on_node(const struct cdm *cdm, const void *addr, size_t length);
bool cdm_pfn_on_node(const struct cdm *cdm, __u64 pfn);

/*
 * Values from /proc: kB of @field, or anonymous pages of the process, without those
 * of files, which come 64 KiB at a time; negative on error.
 */
long cdm_meminfo(const char *field);
long cdm_smaps(const void *addr, const char *field);
long cdm_rss(void);

#endif /* CDM_MEM_H */
