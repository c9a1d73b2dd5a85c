/* A board on the fake front end, and requests for it. */
#ifndef EAPU_BENCH_H
#define EAPU_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "board_limits.h"
#include "fake_afe.h"
#include "job.h"
#include "product_job.h"
#include "pulse_job.h"
#include "read_job.h"
#include "recipe.h"
#include "write_job.h"

extern board_t bench;

/* Opens the board on a fresh front end; nothing is configured. */
void bench_open(uint8_t arrays, uint16_t rows, uint16_t cols);
/* The same, with bench_limits() set and bench_recipe() in slot 1, and no calls recorded. */
void bench_ready(uint8_t arrays, uint16_t rows, uint16_t cols);

limits_msg_t bench_limits(void); /* 3 V, gate 2.5 V, read 0.2 V, 200 uA, 100 us, 50 pulses */
recipe_msg_t bench_recipe(void); /* like recipes/rram_180nm.yaml */

/* Each packs a request into an allocation of exactly its size, so that a sanitizer sees whoever reads past it. */
verdict_t bench_set_limits(const limits_msg_t *m);
verdict_t bench_set_recipe(const recipe_msg_t *m);
verdict_t bench_calibrate(uint8_t array, uint8_t kind, uint16_t first, const calibrate_record_t *lines, size_t count);
verdict_t bench_read(const read_msg_t *m);
verdict_t bench_pulse(uint8_t array, const pulse_record_t *cells, size_t count);
verdict_t bench_write(uint8_t array, uint8_t slot, const write_record_t *cells, size_t count);
/* bits: of the driven lines, then of the measured ones, as in the message. */
verdict_t bench_product(const product_msg_t *m, const uint8_t *bits, size_t size);
verdict_t bench_feed(uint32_t id, const int16_t *codes, size_t count);

/* Any start or set function with the first `size` bytes of a payload of zeros. */
typedef verdict_t (*bench_request_t)(board_t *, const uint8_t *, size_t);
verdict_t bench_short(bench_request_t request, size_t size);

/* Steps until the job is done or fails; a frame of JOB_OUTPUT fails the test. */
job_state_t bench_run(void);
/* Ends the job; asserts its type and returns its payload, which is valid until the next call. */
const uint8_t *bench_result(uint8_t type, size_t size, bool aborted);

#define assert_refused(verdict, why) assert_int_equal((verdict).reason, (why))
#define assert_accepted(verdict) assert_refused(verdict, REASON_NONE)

#endif
