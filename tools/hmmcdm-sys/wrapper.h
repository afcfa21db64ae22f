/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What bindgen reads; `make -C tools bindings` calls it. */
#include <linux/hmm_cdm.h>

/* Commands depend on the architecture, and bindgen evaluates no _IO(): their numbers suffice. */
enum hmm_cdm_nr {
	HMM_CDM_NR_INFO = _IOC_NR(HMM_CDM_IOC_INFO),
	HMM_CDM_NR_MIGRATE = _IOC_NR(HMM_CDM_IOC_MIGRATE),
	HMM_CDM_NR_QUERY = _IOC_NR(HMM_CDM_IOC_QUERY),
	HMM_CDM_NR_SUBMIT = _IOC_NR(HMM_CDM_IOC_SUBMIT),
	HMM_CDM_NR_WAIT = _IOC_NR(HMM_CDM_IOC_WAIT),
	HMM_CDM_NR_STATS = _IOC_NR(HMM_CDM_IOC_STATS),
	HMM_CDM_NR_POPULATE = _IOC_NR(HMM_CDM_IOC_POPULATE),
	HMM_CDM_NR_ADVISE = _IOC_NR(HMM_CDM_IOC_ADVISE),
};
