/* Made from protocol.yaml by generate.py: change that and run `python firmware/generate.py`.
 *
 * x_unpack refuses every payload that has not the exact length; nothing past n is read. x_pack writes the
 * fields before the tail, x_record_pack one record of the tail; both want the start of the payload.
 */
#ifndef EAPU_PROTOCOL_H
#define EAPU_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PROTOCOL_VERSION 2u
#define PROTOCOL_SCHEMA 0x4EEB1D98u
#define PAYLOAD_MAX 240u
#define AFE_PAYLOAD_MAX 1024u
#define CELLS_MAX 12u
#define CODES_MAX 117u
#define LINES_MAX 128u
#define ARRAYS_MAX 4u
#define RANGES_MAX 8u
#define RECIPES 4u

typedef enum {
    BOARD_STATE_NEW = 0,
    BOARD_STATE_LINKED = 1,
    BOARD_STATE_READY = 2,
    BOARD_STATE_BUSY = 3,
    BOARD_STATE_FAULT = 4,
} board_state_t;

typedef enum {
    FAULT_NONE = 0,
    FAULT_DEAD_MAN = 1,
    FAULT_FRONT_END = 2,
    FAULT_ON_TIME = 3,
    FAULT_GUARD = 4,
} fault_t;

typedef enum {
    RESET_CAUSE_UNKNOWN = 0,
    RESET_CAUSE_POWER = 1,
    RESET_CAUSE_PIN = 2,
    RESET_CAUSE_SOFTWARE = 3,
    RESET_CAUSE_WATCHDOG = 4,
} reset_cause_t;

typedef enum {
    LINE_DIRECTION_FORWARD = 0,
    LINE_DIRECTION_TRANSPOSED = 1,
} line_direction_t;

typedef enum {
    LINE_KIND_ROW_DAC = 0,
    LINE_KIND_COL_DAC = 1,
    LINE_KIND_GATE_DAC = 2,
    LINE_KIND_ROW_ADC = 3,
    LINE_KIND_COL_ADC = 4,
} line_kind_t;

typedef enum {
    REASON_NONE = 0,
    REASON_UNKNOWN_TYPE = 1,
    REASON_BAD_LENGTH = 2,
    REASON_BAD_VALUE = 3,
    REASON_FAULT = 4,
    REASON_NOT_CONFIGURED = 5,
    REASON_BOARD_LIMIT = 6,
    REASON_BAD_CELL = 7,
    REASON_V_MAX = 8,
    REASON_V_GATE_MAX = 9,
    REASON_I_MAX = 10,
    REASON_WIDTH_MAX = 11,
    REASON_PULSES_MAX = 12,
    REASON_V_READ_MAX = 13,
    REASON_CONVERTER = 14,
    REASON_TARGET = 15,
    REASON_DUPLICATE = 16,
    REASON_ABORTED = 17,
    REASON_FRONT_END = 18,
    REASON_UNKNOWN_ID = 19,
} reason_t;

typedef enum {
    CELL_STATUS_OK = 0,
    CELL_STATUS_NOT_CONVERGED = 1,
    CELL_STATUS_COMPLIANCE = 2,
    CELL_STATUS_LIMIT = 4,
    CELL_STATUS_SATURATED = 8,
    CELL_STATUS_STUCK = 16,
    CELL_STATUS_ABORTED = 32,
} cell_status_t;

typedef enum {
    POLARITY_RESET = -1,
    POLARITY_SET = 1,
    POLARITY_FORM = 2,
} polarity_t;

typedef enum {
    MSG_HELLO = 0x01,
    MSG_WELCOME = 0x81,
    MSG_ACK = 0x02,
    MSG_NAK = 0x03,
    MSG_STATUS = 0x04,
    MSG_GROUND = 0x05,
    MSG_ABORT = 0x06,
    MSG_CLEAR = 0x07,
    MSG_STATUS_IS = 0x84,
    MSG_LIMITS = 0x10,
    MSG_GET_LIMITS = 0x11,
    MSG_LIMITS_ARE = 0x91,
    MSG_CALIBRATE = 0x12,
    MSG_RECIPE = 0x13,
    MSG_WAIT = 0x14,
    MSG_RECALL = 0x15,
    MSG_DONE = 0x90,
    MSG_REFUSED = 0x9F,
    MSG_READ = 0x20,
    MSG_READ_IS = 0xA0,
    MSG_PULSE = 0x21,
    MSG_PULSED = 0xA1,
    MSG_WRITE = 0x22,
    MSG_WRITTEN = 0xA2,
    MSG_PRODUCT = 0x23,
    MSG_PRODUCT_DATA = 0x24,
    MSG_PRODUCT_IS = 0xA4,
    MSG_AFE_OPEN = 0x40,
    MSG_AFE_INFO = 0xC0,
    MSG_AFE_ARM = 0x41,
    MSG_AFE_GROUND = 0x42,
    MSG_AFE_SKIP = 0x43,
    MSG_AFE_DONE = 0xC1,
    MSG_AFE_READ = 0x44,
    MSG_AFE_READ_IS = 0xC4,
    MSG_AFE_PULSE = 0x45,
    MSG_AFE_PULSED = 0xC5,
    MSG_AFE_SELECT = 0x46,
    MSG_AFE_PRODUCT = 0x47,
    MSG_AFE_PRODUCT_IS = 0xC7,
    MSG_AFE_FAILED = 0xCF,
} message_t;

static inline bool message_sequenced(uint8_t number)
{
    switch (number) {
    case MSG_LIMITS:
    case MSG_GET_LIMITS:
    case MSG_LIMITS_ARE:
    case MSG_CALIBRATE:
    case MSG_RECIPE:
    case MSG_WAIT:
    case MSG_RECALL:
    case MSG_DONE:
    case MSG_REFUSED:
    case MSG_READ:
    case MSG_READ_IS:
    case MSG_PULSE:
    case MSG_PULSED:
    case MSG_WRITE:
    case MSG_WRITTEN:
    case MSG_PRODUCT:
    case MSG_PRODUCT_DATA:
    case MSG_PRODUCT_IS:
        return true;
    default:
        return false;
    }
}

static inline void put_u8(uint8_t *p, uint8_t v)
{
    p[0] = (uint8_t)v;
}

static inline uint8_t get_u8(const uint8_t *p)
{
    return p[0];
}

static inline void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | ((uint32_t)p[1] << 8));
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline uint32_t get_u32(const uint8_t *p)
{
    return get_u16(p) | ((uint32_t)get_u16(p + 2) << 16);
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
    p[4] = (uint8_t)(v >> 32);
    p[5] = (uint8_t)(v >> 40);
    p[6] = (uint8_t)(v >> 48);
    p[7] = (uint8_t)(v >> 56);
}

static inline uint64_t get_u64(const uint8_t *p)
{
    return get_u32(p) | ((uint64_t)get_u32(p + 4) << 32);
}

static inline void put_i8(uint8_t *p, int8_t v)
{
    uint8_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_u8(p, bits);
}

static inline int8_t get_i8(const uint8_t *p)
{
    uint8_t bits = get_u8(p);
    int8_t v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline void put_i16(uint8_t *p, int16_t v)
{
    uint16_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_u16(p, bits);
}

static inline int16_t get_i16(const uint8_t *p)
{
    uint16_t bits = get_u16(p);
    int16_t v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline void put_i32(uint8_t *p, int32_t v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_u32(p, bits);
}

static inline int32_t get_i32(const uint8_t *p)
{
    uint32_t bits = get_u32(p);
    int32_t v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline void put_f32(uint8_t *p, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_u32(p, bits);
}

static inline float get_f32(const uint8_t *p)
{
    uint32_t bits = get_u32(p);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline void put_f64(uint8_t *p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_u64(p, bits);
}

static inline double get_f64(const uint8_t *p)
{
    uint64_t bits = get_u64(p);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* HELLO, to mcu */
#define HELLO_SIZE 15u
typedef struct {
    uint8_t version;
    uint32_t schema;
    uint32_t link;
    uint16_t resend_ms;
    uint32_t dead_man_ms;
} hello_msg_t;
static inline size_t hello_pack(const hello_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->version);
    put_u32(p + 1, m->schema);
    put_u32(p + 5, m->link);
    put_u16(p + 9, m->resend_ms);
    put_u32(p + 11, m->dead_man_ms);
    return HELLO_SIZE;
}
static inline bool hello_unpack(hello_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != HELLO_SIZE)
        return false;
    m->version = get_u8(p + 0);
    m->schema = get_u32(p + 1);
    m->link = get_u32(p + 5);
    m->resend_ms = get_u16(p + 9);
    m->dead_man_ms = get_u32(p + 11);
    return true;
}

/* WELCOME, to host */
#define WELCOME_SIZE 130u
typedef struct {
    uint8_t version;
    uint32_t schema;
    uint32_t link;
    uint32_t session;
    char git_hash[12];
    char board[16];
    char serial[16];
    uint8_t reset_cause;
    uint8_t state;
    uint8_t arrays;
    uint16_t rows;
    uint16_t cols;
    uint8_t window;
    uint16_t rx_bytes;
    uint32_t tick_hz;
    uint32_t last_op;
    uint8_t simulated_time;
    int32_t read_full_scale_uv;
    uint16_t read_top;
    int32_t pulse_full_scale_uv;
    uint16_t pulse_top;
    int32_t gate_full_scale_uv;
    uint16_t gate_top;
    uint16_t adc_top;
    uint8_t read_range;
    uint8_t ranges;
    float range_full_scale_a[8];
} welcome_msg_t;
static inline size_t welcome_pack(const welcome_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->version);
    put_u32(p + 1, m->schema);
    put_u32(p + 5, m->link);
    put_u32(p + 9, m->session);
    memcpy(p + 13, m->git_hash, 12);
    memcpy(p + 25, m->board, 16);
    memcpy(p + 41, m->serial, 16);
    put_u8(p + 57, m->reset_cause);
    put_u8(p + 58, m->state);
    put_u8(p + 59, m->arrays);
    put_u16(p + 60, m->rows);
    put_u16(p + 62, m->cols);
    put_u8(p + 64, m->window);
    put_u16(p + 65, m->rx_bytes);
    put_u32(p + 67, m->tick_hz);
    put_u32(p + 71, m->last_op);
    put_u8(p + 75, m->simulated_time);
    put_i32(p + 76, m->read_full_scale_uv);
    put_u16(p + 80, m->read_top);
    put_i32(p + 82, m->pulse_full_scale_uv);
    put_u16(p + 86, m->pulse_top);
    put_i32(p + 88, m->gate_full_scale_uv);
    put_u16(p + 92, m->gate_top);
    put_u16(p + 94, m->adc_top);
    put_u8(p + 96, m->read_range);
    put_u8(p + 97, m->ranges);
    for (size_t i = 0; i < 8; i++)
        put_f32(p + 98 + i * 4, m->range_full_scale_a[i]);
    return WELCOME_SIZE;
}
static inline bool welcome_unpack(welcome_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != WELCOME_SIZE)
        return false;
    m->version = get_u8(p + 0);
    m->schema = get_u32(p + 1);
    m->link = get_u32(p + 5);
    m->session = get_u32(p + 9);
    memcpy(m->git_hash, p + 13, 12);
    memcpy(m->board, p + 25, 16);
    memcpy(m->serial, p + 41, 16);
    m->reset_cause = get_u8(p + 57);
    m->state = get_u8(p + 58);
    m->arrays = get_u8(p + 59);
    m->rows = get_u16(p + 60);
    m->cols = get_u16(p + 62);
    m->window = get_u8(p + 64);
    m->rx_bytes = get_u16(p + 65);
    m->tick_hz = get_u32(p + 67);
    m->last_op = get_u32(p + 71);
    m->simulated_time = get_u8(p + 75);
    m->read_full_scale_uv = get_i32(p + 76);
    m->read_top = get_u16(p + 80);
    m->pulse_full_scale_uv = get_i32(p + 82);
    m->pulse_top = get_u16(p + 86);
    m->gate_full_scale_uv = get_i32(p + 88);
    m->gate_top = get_u16(p + 92);
    m->adc_top = get_u16(p + 94);
    m->read_range = get_u8(p + 96);
    m->ranges = get_u8(p + 97);
    for (size_t i = 0; i < 8; i++)
        m->range_full_scale_a[i] = get_f32(p + 98 + i * 4);
    return true;
}

/* ACK, to both */
#define ACK_SIZE 0u

/* NAK, to both */
#define NAK_SIZE 3u
typedef struct {
    uint8_t missing;
    uint16_t held;
} nak_msg_t;
static inline size_t nak_pack(const nak_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->missing);
    put_u16(p + 1, m->held);
    return NAK_SIZE;
}
static inline bool nak_unpack(nak_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != NAK_SIZE)
        return false;
    m->missing = get_u8(p + 0);
    m->held = get_u16(p + 1);
    return true;
}

/* STATUS, to mcu */
#define STATUS_SIZE 4u
typedef struct {
    uint32_t id;
} status_msg_t;
static inline size_t status_pack(const status_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return STATUS_SIZE;
}
static inline bool status_unpack(status_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != STATUS_SIZE)
        return false;
    m->id = get_u32(p + 0);
    return true;
}

/* GROUND, to mcu */
#define GROUND_SIZE 4u
typedef struct {
    uint32_t id;
} ground_msg_t;
static inline size_t ground_pack(const ground_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return GROUND_SIZE;
}
static inline bool ground_unpack(ground_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != GROUND_SIZE)
        return false;
    m->id = get_u32(p + 0);
    return true;
}

/* ABORT, to mcu */
#define ABORT_SIZE 4u
typedef struct {
    uint32_t id;
} abort_msg_t;
static inline size_t abort_pack(const abort_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return ABORT_SIZE;
}
static inline bool abort_unpack(abort_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != ABORT_SIZE)
        return false;
    m->id = get_u32(p + 0);
    return true;
}

/* CLEAR, to mcu */
#define CLEAR_SIZE 4u
typedef struct {
    uint32_t id;
} clear_msg_t;
static inline size_t clear_pack(const clear_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return CLEAR_SIZE;
}
static inline bool clear_unpack(clear_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != CLEAR_SIZE)
        return false;
    m->id = get_u32(p + 0);
    return true;
}

/* STATUS_IS, to host */
#define STATUS_IS_SIZE 44u
typedef struct {
    uint32_t id;
    uint8_t state;
    uint8_t fault;
    uint8_t grounded;
    uint8_t queued;
    uint64_t time_ns;
    uint32_t last_op;
    uint32_t rx_frames;
    uint32_t rx_damaged;
    uint32_t rx_gaps;
    uint32_t tx_frames;
    uint32_t tx_resent;
    uint32_t refused;
} status_is_msg_t;
static inline size_t status_is_pack(const status_is_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->state);
    put_u8(p + 5, m->fault);
    put_u8(p + 6, m->grounded);
    put_u8(p + 7, m->queued);
    put_u64(p + 8, m->time_ns);
    put_u32(p + 16, m->last_op);
    put_u32(p + 20, m->rx_frames);
    put_u32(p + 24, m->rx_damaged);
    put_u32(p + 28, m->rx_gaps);
    put_u32(p + 32, m->tx_frames);
    put_u32(p + 36, m->tx_resent);
    put_u32(p + 40, m->refused);
    return STATUS_IS_SIZE;
}
static inline bool status_is_unpack(status_is_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != STATUS_IS_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->state = get_u8(p + 4);
    m->fault = get_u8(p + 5);
    m->grounded = get_u8(p + 6);
    m->queued = get_u8(p + 7);
    m->time_ns = get_u64(p + 8);
    m->last_op = get_u32(p + 16);
    m->rx_frames = get_u32(p + 20);
    m->rx_damaged = get_u32(p + 24);
    m->rx_gaps = get_u32(p + 28);
    m->tx_frames = get_u32(p + 32);
    m->tx_resent = get_u32(p + 36);
    m->refused = get_u32(p + 40);
    return true;
}

/* LIMITS, to mcu, sequenced */
#define LIMITS_SIZE 28u
typedef struct {
    uint32_t id;
    int32_t v_max_uv;
    int32_t v_gate_max_uv;
    int32_t v_read_max_uv;
    uint32_t i_max_na;
    uint32_t width_max_ns;
    uint32_t pulses_per_cell_max;
} limits_msg_t;
static inline size_t limits_pack(const limits_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_i32(p + 4, m->v_max_uv);
    put_i32(p + 8, m->v_gate_max_uv);
    put_i32(p + 12, m->v_read_max_uv);
    put_u32(p + 16, m->i_max_na);
    put_u32(p + 20, m->width_max_ns);
    put_u32(p + 24, m->pulses_per_cell_max);
    return LIMITS_SIZE;
}
static inline bool limits_unpack(limits_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != LIMITS_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->v_max_uv = get_i32(p + 4);
    m->v_gate_max_uv = get_i32(p + 8);
    m->v_read_max_uv = get_i32(p + 12);
    m->i_max_na = get_u32(p + 16);
    m->width_max_ns = get_u32(p + 20);
    m->pulses_per_cell_max = get_u32(p + 24);
    return true;
}

/* GET_LIMITS, to mcu, sequenced */
#define GET_LIMITS_SIZE 4u
typedef struct {
    uint32_t id;
} get_limits_msg_t;
static inline size_t get_limits_pack(const get_limits_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return GET_LIMITS_SIZE;
}
static inline bool get_limits_unpack(get_limits_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != GET_LIMITS_SIZE)
        return false;
    m->id = get_u32(p + 0);
    return true;
}

/* LIMITS_ARE, to host, sequenced */
#define LIMITS_ARE_SIZE 28u
typedef struct {
    uint32_t id;
    int32_t v_max_uv;
    int32_t v_gate_max_uv;
    int32_t v_read_max_uv;
    uint32_t i_max_na;
    uint32_t width_max_ns;
    uint32_t pulses_per_cell_max;
} limits_are_msg_t;
static inline size_t limits_are_pack(const limits_are_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_i32(p + 4, m->v_max_uv);
    put_i32(p + 8, m->v_gate_max_uv);
    put_i32(p + 12, m->v_read_max_uv);
    put_u32(p + 16, m->i_max_na);
    put_u32(p + 20, m->width_max_ns);
    put_u32(p + 24, m->pulses_per_cell_max);
    return LIMITS_ARE_SIZE;
}
static inline bool limits_are_unpack(limits_are_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != LIMITS_ARE_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->v_max_uv = get_i32(p + 4);
    m->v_gate_max_uv = get_i32(p + 8);
    m->v_read_max_uv = get_i32(p + 12);
    m->i_max_na = get_u32(p + 16);
    m->width_max_ns = get_u32(p + 20);
    m->pulses_per_cell_max = get_u32(p + 24);
    return true;
}

/* CALIBRATE, to mcu, sequenced */
#define CALIBRATE_SIZE 8u
typedef struct {
    uint32_t id;
    uint8_t array;
    uint8_t kind;
    uint16_t first;
} calibrate_msg_t;
static inline size_t calibrate_pack(const calibrate_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->array);
    put_u8(p + 5, m->kind);
    put_u16(p + 6, m->first);
    return CALIBRATE_SIZE;
}
static inline bool calibrate_unpack(calibrate_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < CALIBRATE_SIZE || (n - CALIBRATE_SIZE) % 8u != 0)
        return false;
    m->id = get_u32(p + 0);
    m->array = get_u8(p + 4);
    m->kind = get_u8(p + 5);
    m->first = get_u16(p + 6);
    return true;
}
#define CALIBRATE_RECORD_SIZE 8u
#define CALIBRATE_RECORDS_MAX 29u /* that fit */
typedef struct {
    float gain;
    float offset;
} calibrate_record_t;
static inline size_t calibrate_count(size_t n) /* records in a payload of n bytes */
{
    return n < CALIBRATE_SIZE ? 0 : (n - CALIBRATE_SIZE) / CALIBRATE_RECORD_SIZE;
}
static inline size_t calibrate_size(size_t records)
{
    return CALIBRATE_SIZE + records * CALIBRATE_RECORD_SIZE;
}
static inline void calibrate_record_pack(const calibrate_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + calibrate_size(index);
    put_f32(p + 0, m->gain);
    put_f32(p + 4, m->offset);
}
static inline void calibrate_record_unpack(calibrate_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + calibrate_size(index);
    m->gain = get_f32(p + 0);
    m->offset = get_f32(p + 4);
}

/* RECIPE, to mcu, sequenced */
#define RECIPE_SIZE 164u
enum {
    RECIPE_PLACE_ID = 0,
    RECIPE_PLACE_SLOT = 1,
    RECIPE_PLACE_REWRITE_IN_BAND = 2,
    RECIPE_PLACE_PULSES_MAX = 3,
    RECIPE_PLACE_FLIPS_MAX = 4,
    RECIPE_PLACE_PULSES_AT_CAP_MAX = 5,
    RECIPE_PLACE_G_MIN_S = 6,
    RECIPE_PLACE_G_MAX_S = 7,
    RECIPE_PLACE_BAND_S = 8,
    RECIPE_PLACE_V_READ_V = 9,
    RECIPE_PLACE_SET_GATE_START_V = 10,
    RECIPE_PLACE_SET_GATE_STEP_V = 11,
    RECIPE_PLACE_SET_GATE_STOP_V = 12,
    RECIPE_PLACE_SET_GATE_OFFSET_V = 13,
    RECIPE_PLACE_SET_GATE_SLOPE_S_PER_V = 14,
    RECIPE_PLACE_SET_START_V = 15,
    RECIPE_PLACE_SET_STEP_V = 16,
    RECIPE_PLACE_SET_STOP_V = 17,
    RECIPE_PLACE_SET_WIDTH_S = 18,
    RECIPE_PLACE_RESET_GATE_V = 19,
    RECIPE_PLACE_RESET_START_V = 20,
    RECIPE_PLACE_RESET_STEP_V = 21,
    RECIPE_PLACE_RESET_STOP_V = 22,
    RECIPE_PLACE_RESET_WIDTH_S = 23,
    RECIPE_PLACE_TIME_MAX_S = 24,
};
typedef struct {
    uint32_t id;
    uint8_t slot;
    uint8_t rewrite_in_band;
    uint16_t pulses_max;
    uint16_t flips_max;
    uint16_t pulses_at_cap_max;
    double g_min_S;
    double g_max_S;
    double band_S;
    double v_read_v;
    double set_gate_start_v;
    double set_gate_step_v;
    double set_gate_stop_v;
    double set_gate_offset_v;
    double set_gate_slope_S_per_v;
    double set_start_v;
    double set_step_v;
    double set_stop_v;
    double set_width_s;
    double reset_gate_v;
    double reset_start_v;
    double reset_step_v;
    double reset_stop_v;
    double reset_width_s;
    double time_max_s;
} recipe_msg_t;
static inline size_t recipe_pack(const recipe_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->slot);
    put_u8(p + 5, m->rewrite_in_band);
    put_u16(p + 6, m->pulses_max);
    put_u16(p + 8, m->flips_max);
    put_u16(p + 10, m->pulses_at_cap_max);
    put_f64(p + 12, m->g_min_S);
    put_f64(p + 20, m->g_max_S);
    put_f64(p + 28, m->band_S);
    put_f64(p + 36, m->v_read_v);
    put_f64(p + 44, m->set_gate_start_v);
    put_f64(p + 52, m->set_gate_step_v);
    put_f64(p + 60, m->set_gate_stop_v);
    put_f64(p + 68, m->set_gate_offset_v);
    put_f64(p + 76, m->set_gate_slope_S_per_v);
    put_f64(p + 84, m->set_start_v);
    put_f64(p + 92, m->set_step_v);
    put_f64(p + 100, m->set_stop_v);
    put_f64(p + 108, m->set_width_s);
    put_f64(p + 116, m->reset_gate_v);
    put_f64(p + 124, m->reset_start_v);
    put_f64(p + 132, m->reset_step_v);
    put_f64(p + 140, m->reset_stop_v);
    put_f64(p + 148, m->reset_width_s);
    put_f64(p + 156, m->time_max_s);
    return RECIPE_SIZE;
}
static inline bool recipe_unpack(recipe_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != RECIPE_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->slot = get_u8(p + 4);
    m->rewrite_in_band = get_u8(p + 5);
    m->pulses_max = get_u16(p + 6);
    m->flips_max = get_u16(p + 8);
    m->pulses_at_cap_max = get_u16(p + 10);
    m->g_min_S = get_f64(p + 12);
    m->g_max_S = get_f64(p + 20);
    m->band_S = get_f64(p + 28);
    m->v_read_v = get_f64(p + 36);
    m->set_gate_start_v = get_f64(p + 44);
    m->set_gate_step_v = get_f64(p + 52);
    m->set_gate_stop_v = get_f64(p + 60);
    m->set_gate_offset_v = get_f64(p + 68);
    m->set_gate_slope_S_per_v = get_f64(p + 76);
    m->set_start_v = get_f64(p + 84);
    m->set_step_v = get_f64(p + 92);
    m->set_stop_v = get_f64(p + 100);
    m->set_width_s = get_f64(p + 108);
    m->reset_gate_v = get_f64(p + 116);
    m->reset_start_v = get_f64(p + 124);
    m->reset_step_v = get_f64(p + 132);
    m->reset_stop_v = get_f64(p + 140);
    m->reset_width_s = get_f64(p + 148);
    m->time_max_s = get_f64(p + 156);
    return true;
}

/* WAIT, to mcu, sequenced */
#define WAIT_SIZE 12u
typedef struct {
    uint32_t id;
    uint64_t duration_ns;
} wait_msg_t;
static inline size_t wait_pack(const wait_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u64(p + 4, m->duration_ns);
    return WAIT_SIZE;
}
static inline bool wait_unpack(wait_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != WAIT_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->duration_ns = get_u64(p + 4);
    return true;
}

/* RECALL, to mcu, sequenced */
#define RECALL_SIZE 8u
typedef struct {
    uint32_t id;
    uint32_t op;
} recall_msg_t;
static inline size_t recall_pack(const recall_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u32(p + 4, m->op);
    return RECALL_SIZE;
}
static inline bool recall_unpack(recall_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != RECALL_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->op = get_u32(p + 4);
    return true;
}

/* DONE, to host, sequenced */
#define DONE_SIZE 12u
typedef struct {
    uint32_t id;
    uint64_t time_ns;
} done_msg_t;
static inline size_t done_pack(const done_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u64(p + 4, m->time_ns);
    return DONE_SIZE;
}
static inline bool done_unpack(done_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != DONE_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->time_ns = get_u64(p + 4);
    return true;
}

/* REFUSED, to host, sequenced */
#define REFUSED_SIZE 23u
typedef struct {
    uint32_t id;
    uint8_t reason;
    uint16_t index;
    double asked;
    double allowed;
} refused_msg_t;
static inline size_t refused_pack(const refused_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->reason);
    put_u16(p + 5, m->index);
    put_f64(p + 7, m->asked);
    put_f64(p + 15, m->allowed);
    return REFUSED_SIZE;
}
static inline bool refused_unpack(refused_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != REFUSED_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->reason = get_u8(p + 4);
    m->index = get_u16(p + 5);
    m->asked = get_f64(p + 7);
    m->allowed = get_f64(p + 15);
    return true;
}

/* READ, to mcu, sequenced */
#define READ_SIZE 17u
typedef struct {
    uint32_t id;
    uint8_t array;
    int32_t v_read_uv;
    uint16_t row;
    uint16_t col;
    uint16_t rows;
    uint16_t cols;
} read_msg_t;
static inline size_t read_pack(const read_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->array);
    put_i32(p + 5, m->v_read_uv);
    put_u16(p + 9, m->row);
    put_u16(p + 11, m->col);
    put_u16(p + 13, m->rows);
    put_u16(p + 15, m->cols);
    return READ_SIZE;
}
static inline bool read_unpack(read_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != READ_SIZE)
        return false;
    m->id = get_u32(p + 0);
    m->array = get_u8(p + 4);
    m->v_read_uv = get_i32(p + 5);
    m->row = get_u16(p + 9);
    m->col = get_u16(p + 11);
    m->rows = get_u16(p + 13);
    m->cols = get_u16(p + 15);
    return true;
}

/* READ_IS, to host, sequenced */
#define READ_IS_SIZE 4u
typedef struct {
    uint32_t id;
} read_is_msg_t;
static inline size_t read_is_pack(const read_is_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return READ_IS_SIZE;
}
static inline bool read_is_unpack(read_is_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < READ_IS_SIZE || (n - READ_IS_SIZE) % 2u != 0)
        return false;
    m->id = get_u32(p + 0);
    return true;
}
#define READ_IS_RECORD_SIZE 2u
#define READ_IS_RECORDS_MAX 118u /* that fit */
typedef struct {
    int16_t code;
} read_is_record_t;
static inline size_t read_is_count(size_t n) /* records in a payload of n bytes */
{
    return n < READ_IS_SIZE ? 0 : (n - READ_IS_SIZE) / READ_IS_RECORD_SIZE;
}
static inline size_t read_is_size(size_t records)
{
    return READ_IS_SIZE + records * READ_IS_RECORD_SIZE;
}
static inline void read_is_record_pack(const read_is_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + read_is_size(index);
    put_i16(p + 0, m->code);
}
static inline void read_is_record_unpack(read_is_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + read_is_size(index);
    m->code = get_i16(p + 0);
}

/* PULSE, to mcu, sequenced */
#define PULSE_SIZE 5u
typedef struct {
    uint32_t id;
    uint8_t array;
} pulse_msg_t;
static inline size_t pulse_pack(const pulse_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->array);
    return PULSE_SIZE;
}
static inline bool pulse_unpack(pulse_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < PULSE_SIZE || (n - PULSE_SIZE) % 19u != 0)
        return false;
    m->id = get_u32(p + 0);
    m->array = get_u8(p + 4);
    return true;
}
#define PULSE_RECORD_SIZE 19u
#define PULSE_RECORDS_MAX 12u /* that fit */
typedef struct {
    uint16_t row;
    uint16_t col;
    int8_t polarity;
    int32_t amplitude_uv;
    int32_t gate_uv;
    uint32_t width_ns;
    uint16_t count;
} pulse_record_t;
static inline size_t pulse_count(size_t n) /* records in a payload of n bytes */
{
    return n < PULSE_SIZE ? 0 : (n - PULSE_SIZE) / PULSE_RECORD_SIZE;
}
static inline size_t pulse_size(size_t records)
{
    return PULSE_SIZE + records * PULSE_RECORD_SIZE;
}
static inline void pulse_record_pack(const pulse_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + pulse_size(index);
    put_u16(p + 0, m->row);
    put_u16(p + 2, m->col);
    put_i8(p + 4, m->polarity);
    put_i32(p + 5, m->amplitude_uv);
    put_i32(p + 9, m->gate_uv);
    put_u32(p + 13, m->width_ns);
    put_u16(p + 17, m->count);
}
static inline void pulse_record_unpack(pulse_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + pulse_size(index);
    m->row = get_u16(p + 0);
    m->col = get_u16(p + 2);
    m->polarity = get_i8(p + 4);
    m->amplitude_uv = get_i32(p + 5);
    m->gate_uv = get_i32(p + 9);
    m->width_ns = get_u32(p + 13);
    m->count = get_u16(p + 17);
}

/* PULSED, to host, sequenced */
#define PULSED_SIZE 4u
typedef struct {
    uint32_t id;
} pulsed_msg_t;
static inline size_t pulsed_pack(const pulsed_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return PULSED_SIZE;
}
static inline bool pulsed_unpack(pulsed_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < PULSED_SIZE || (n - PULSED_SIZE) % 3u != 0)
        return false;
    m->id = get_u32(p + 0);
    return true;
}
#define PULSED_RECORD_SIZE 3u
#define PULSED_RECORDS_MAX 78u /* that fit */
typedef struct {
    uint16_t pulses;
    uint8_t status;
} pulsed_record_t;
static inline size_t pulsed_count(size_t n) /* records in a payload of n bytes */
{
    return n < PULSED_SIZE ? 0 : (n - PULSED_SIZE) / PULSED_RECORD_SIZE;
}
static inline size_t pulsed_size(size_t records)
{
    return PULSED_SIZE + records * PULSED_RECORD_SIZE;
}
static inline void pulsed_record_pack(const pulsed_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + pulsed_size(index);
    put_u16(p + 0, m->pulses);
    put_u8(p + 2, m->status);
}
static inline void pulsed_record_unpack(pulsed_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + pulsed_size(index);
    m->pulses = get_u16(p + 0);
    m->status = get_u8(p + 2);
}

/* WRITE, to mcu, sequenced */
#define WRITE_SIZE 6u
typedef struct {
    uint32_t id;
    uint8_t array;
    uint8_t slot;
} write_msg_t;
static inline size_t write_pack(const write_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->array);
    put_u8(p + 5, m->slot);
    return WRITE_SIZE;
}
static inline bool write_unpack(write_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < WRITE_SIZE || (n - WRITE_SIZE) % 12u != 0)
        return false;
    m->id = get_u32(p + 0);
    m->array = get_u8(p + 4);
    m->slot = get_u8(p + 5);
    return true;
}
#define WRITE_RECORD_SIZE 12u
#define WRITE_RECORDS_MAX 19u /* that fit */
typedef struct {
    uint16_t row;
    uint16_t col;
    double g_target_S;
} write_record_t;
static inline size_t write_count(size_t n) /* records in a payload of n bytes */
{
    return n < WRITE_SIZE ? 0 : (n - WRITE_SIZE) / WRITE_RECORD_SIZE;
}
static inline size_t write_size(size_t records)
{
    return WRITE_SIZE + records * WRITE_RECORD_SIZE;
}
static inline void write_record_pack(const write_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + write_size(index);
    put_u16(p + 0, m->row);
    put_u16(p + 2, m->col);
    put_f64(p + 4, m->g_target_S);
}
static inline void write_record_unpack(write_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + write_size(index);
    m->row = get_u16(p + 0);
    m->col = get_u16(p + 2);
    m->g_target_S = get_f64(p + 4);
}

/* WRITTEN, to host, sequenced */
#define WRITTEN_SIZE 4u
typedef struct {
    uint32_t id;
} written_msg_t;
static inline size_t written_pack(const written_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return WRITTEN_SIZE;
}
static inline bool written_unpack(written_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < WRITTEN_SIZE || (n - WRITTEN_SIZE) % 17u != 0)
        return false;
    m->id = get_u32(p + 0);
    return true;
}
#define WRITTEN_RECORD_SIZE 17u
#define WRITTEN_RECORDS_MAX 13u /* that fit */
typedef struct {
    float g_before_S;
    float g_after_S;
    float energy_j;
    uint16_t pulses;
    uint16_t reads;
    uint8_t status;
} written_record_t;
static inline size_t written_count(size_t n) /* records in a payload of n bytes */
{
    return n < WRITTEN_SIZE ? 0 : (n - WRITTEN_SIZE) / WRITTEN_RECORD_SIZE;
}
static inline size_t written_size(size_t records)
{
    return WRITTEN_SIZE + records * WRITTEN_RECORD_SIZE;
}
static inline void written_record_pack(const written_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + written_size(index);
    put_f32(p + 0, m->g_before_S);
    put_f32(p + 4, m->g_after_S);
    put_f32(p + 8, m->energy_j);
    put_u16(p + 12, m->pulses);
    put_u16(p + 14, m->reads);
    put_u8(p + 16, m->status);
}
static inline void written_record_unpack(written_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + written_size(index);
    m->g_before_S = get_f32(p + 0);
    m->g_after_S = get_f32(p + 4);
    m->energy_j = get_f32(p + 8);
    m->pulses = get_u16(p + 12);
    m->reads = get_u16(p + 14);
    m->status = get_u8(p + 16);
}

/* PRODUCT, to mcu, sequenced */
#define PRODUCT_SIZE 11u
typedef struct {
    uint32_t id;
    uint8_t array;
    uint8_t direction;
    uint8_t range;
    uint32_t vectors;
} product_msg_t;
static inline size_t product_pack(const product_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    put_u8(p + 4, m->array);
    put_u8(p + 5, m->direction);
    put_u8(p + 6, m->range);
    put_u32(p + 7, m->vectors);
    return PRODUCT_SIZE;
}
static inline bool product_unpack(product_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < PRODUCT_SIZE || (n - PRODUCT_SIZE) % 1u != 0)
        return false;
    m->id = get_u32(p + 0);
    m->array = get_u8(p + 4);
    m->direction = get_u8(p + 5);
    m->range = get_u8(p + 6);
    m->vectors = get_u32(p + 7);
    return true;
}
#define PRODUCT_RECORD_SIZE 1u
#define PRODUCT_RECORDS_MAX 229u /* that fit */
typedef struct {
    uint8_t bits;
} product_record_t;
static inline size_t product_count(size_t n) /* records in a payload of n bytes */
{
    return n < PRODUCT_SIZE ? 0 : (n - PRODUCT_SIZE) / PRODUCT_RECORD_SIZE;
}
static inline size_t product_size(size_t records)
{
    return PRODUCT_SIZE + records * PRODUCT_RECORD_SIZE;
}
static inline void product_record_pack(const product_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + product_size(index);
    put_u8(p + 0, m->bits);
}
static inline void product_record_unpack(product_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + product_size(index);
    m->bits = get_u8(p + 0);
}

/* PRODUCT_DATA, to mcu, sequenced */
#define PRODUCT_DATA_SIZE 4u
typedef struct {
    uint32_t id;
} product_data_msg_t;
static inline size_t product_data_pack(const product_data_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return PRODUCT_DATA_SIZE;
}
static inline bool product_data_unpack(product_data_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < PRODUCT_DATA_SIZE || (n - PRODUCT_DATA_SIZE) % 2u != 0)
        return false;
    m->id = get_u32(p + 0);
    return true;
}
#define PRODUCT_DATA_RECORD_SIZE 2u
#define PRODUCT_DATA_RECORDS_MAX 118u /* that fit */
typedef struct {
    int16_t code;
} product_data_record_t;
static inline size_t product_data_count(size_t n) /* records in a payload of n bytes */
{
    return n < PRODUCT_DATA_SIZE ? 0 : (n - PRODUCT_DATA_SIZE) / PRODUCT_DATA_RECORD_SIZE;
}
static inline size_t product_data_size(size_t records)
{
    return PRODUCT_DATA_SIZE + records * PRODUCT_DATA_RECORD_SIZE;
}
static inline void product_data_record_pack(const product_data_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + product_data_size(index);
    put_i16(p + 0, m->code);
}
static inline void product_data_record_unpack(product_data_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + product_data_size(index);
    m->code = get_i16(p + 0);
}

/* PRODUCT_IS, to host, sequenced */
#define PRODUCT_IS_SIZE 4u
typedef struct {
    uint32_t id;
} product_is_msg_t;
static inline size_t product_is_pack(const product_is_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->id);
    return PRODUCT_IS_SIZE;
}
static inline bool product_is_unpack(product_is_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < PRODUCT_IS_SIZE || (n - PRODUCT_IS_SIZE) % 2u != 0)
        return false;
    m->id = get_u32(p + 0);
    return true;
}
#define PRODUCT_IS_RECORD_SIZE 2u
#define PRODUCT_IS_RECORDS_MAX 118u /* that fit */
typedef struct {
    int16_t code;
} product_is_record_t;
static inline size_t product_is_count(size_t n) /* records in a payload of n bytes */
{
    return n < PRODUCT_IS_SIZE ? 0 : (n - PRODUCT_IS_SIZE) / PRODUCT_IS_RECORD_SIZE;
}
static inline size_t product_is_size(size_t records)
{
    return PRODUCT_IS_SIZE + records * PRODUCT_IS_RECORD_SIZE;
}
static inline void product_is_record_pack(const product_is_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + product_is_size(index);
    put_i16(p + 0, m->code);
}
static inline void product_is_record_unpack(product_is_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + product_is_size(index);
    m->code = get_i16(p + 0);
}

/* AFE_OPEN, to afe */
#define AFE_OPEN_SIZE 0u

/* AFE_INFO, to mcu */
#define AFE_INFO_SIZE 83u
typedef struct {
    uint64_t time_ns;
    uint8_t arrays;
    uint16_t rows;
    uint16_t cols;
    int32_t v_max_uv;
    int32_t v_gate_max_uv;
    uint32_t i_max_na;
    uint32_t width_max_ns;
    int32_t read_full_scale_uv;
    uint16_t read_top;
    int32_t pulse_full_scale_uv;
    uint16_t pulse_top;
    int32_t gate_full_scale_uv;
    uint16_t gate_top;
    uint16_t adc_top;
    uint8_t read_range;
    uint8_t ranges;
    float range_full_scale_a[8];
} afe_info_msg_t;
static inline size_t afe_info_pack(const afe_info_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    put_u8(p + 8, m->arrays);
    put_u16(p + 9, m->rows);
    put_u16(p + 11, m->cols);
    put_i32(p + 13, m->v_max_uv);
    put_i32(p + 17, m->v_gate_max_uv);
    put_u32(p + 21, m->i_max_na);
    put_u32(p + 25, m->width_max_ns);
    put_i32(p + 29, m->read_full_scale_uv);
    put_u16(p + 33, m->read_top);
    put_i32(p + 35, m->pulse_full_scale_uv);
    put_u16(p + 39, m->pulse_top);
    put_i32(p + 41, m->gate_full_scale_uv);
    put_u16(p + 45, m->gate_top);
    put_u16(p + 47, m->adc_top);
    put_u8(p + 49, m->read_range);
    put_u8(p + 50, m->ranges);
    for (size_t i = 0; i < 8; i++)
        put_f32(p + 51 + i * 4, m->range_full_scale_a[i]);
    return AFE_INFO_SIZE;
}
static inline bool afe_info_unpack(afe_info_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != AFE_INFO_SIZE)
        return false;
    m->time_ns = get_u64(p + 0);
    m->arrays = get_u8(p + 8);
    m->rows = get_u16(p + 9);
    m->cols = get_u16(p + 11);
    m->v_max_uv = get_i32(p + 13);
    m->v_gate_max_uv = get_i32(p + 17);
    m->i_max_na = get_u32(p + 21);
    m->width_max_ns = get_u32(p + 25);
    m->read_full_scale_uv = get_i32(p + 29);
    m->read_top = get_u16(p + 33);
    m->pulse_full_scale_uv = get_i32(p + 35);
    m->pulse_top = get_u16(p + 39);
    m->gate_full_scale_uv = get_i32(p + 41);
    m->gate_top = get_u16(p + 45);
    m->adc_top = get_u16(p + 47);
    m->read_range = get_u8(p + 49);
    m->ranges = get_u8(p + 50);
    for (size_t i = 0; i < 8; i++)
        m->range_full_scale_a[i] = get_f32(p + 51 + i * 4);
    return true;
}

/* AFE_ARM, to afe */
#define AFE_ARM_SIZE 12u
typedef struct {
    uint32_t i_max_na;
    uint32_t width_max_ns;
    int32_t v_gate_max_uv;
} afe_arm_msg_t;
static inline size_t afe_arm_pack(const afe_arm_msg_t *m, uint8_t *p)
{
    put_u32(p + 0, m->i_max_na);
    put_u32(p + 4, m->width_max_ns);
    put_i32(p + 8, m->v_gate_max_uv);
    return AFE_ARM_SIZE;
}
static inline bool afe_arm_unpack(afe_arm_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != AFE_ARM_SIZE)
        return false;
    m->i_max_na = get_u32(p + 0);
    m->width_max_ns = get_u32(p + 4);
    m->v_gate_max_uv = get_i32(p + 8);
    return true;
}

/* AFE_GROUND, to afe */
#define AFE_GROUND_SIZE 0u

/* AFE_SKIP, to afe */
#define AFE_SKIP_SIZE 8u
typedef struct {
    uint64_t until_ns;
} afe_skip_msg_t;
static inline size_t afe_skip_pack(const afe_skip_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->until_ns);
    return AFE_SKIP_SIZE;
}
static inline bool afe_skip_unpack(afe_skip_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != AFE_SKIP_SIZE)
        return false;
    m->until_ns = get_u64(p + 0);
    return true;
}

/* AFE_DONE, to mcu */
#define AFE_DONE_SIZE 8u
typedef struct {
    uint64_t time_ns;
} afe_done_msg_t;
static inline size_t afe_done_pack(const afe_done_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    return AFE_DONE_SIZE;
}
static inline bool afe_done_unpack(afe_done_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != AFE_DONE_SIZE)
        return false;
    m->time_ns = get_u64(p + 0);
    return true;
}

/* AFE_READ, to afe */
#define AFE_READ_SIZE 1u
typedef struct {
    uint8_t array;
} afe_read_msg_t;
static inline size_t afe_read_pack(const afe_read_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->array);
    return AFE_READ_SIZE;
}
static inline bool afe_read_unpack(afe_read_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_READ_SIZE || (n - AFE_READ_SIZE) % 6u != 0)
        return false;
    m->array = get_u8(p + 0);
    return true;
}
#define AFE_READ_RECORD_SIZE 6u
#define AFE_READ_RECORDS_MAX 170u /* that fit */
typedef struct {
    uint16_t row;
    uint16_t col;
    int16_t code;
} afe_read_record_t;
static inline size_t afe_read_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_READ_SIZE ? 0 : (n - AFE_READ_SIZE) / AFE_READ_RECORD_SIZE;
}
static inline size_t afe_read_size(size_t records)
{
    return AFE_READ_SIZE + records * AFE_READ_RECORD_SIZE;
}
static inline void afe_read_record_pack(const afe_read_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_read_size(index);
    put_u16(p + 0, m->row);
    put_u16(p + 2, m->col);
    put_i16(p + 4, m->code);
}
static inline void afe_read_record_unpack(afe_read_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_read_size(index);
    m->row = get_u16(p + 0);
    m->col = get_u16(p + 2);
    m->code = get_i16(p + 4);
}

/* AFE_READ_IS, to mcu */
#define AFE_READ_IS_SIZE 8u
typedef struct {
    uint64_t time_ns;
} afe_read_is_msg_t;
static inline size_t afe_read_is_pack(const afe_read_is_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    return AFE_READ_IS_SIZE;
}
static inline bool afe_read_is_unpack(afe_read_is_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_READ_IS_SIZE || (n - AFE_READ_IS_SIZE) % 2u != 0)
        return false;
    m->time_ns = get_u64(p + 0);
    return true;
}
#define AFE_READ_IS_RECORD_SIZE 2u
#define AFE_READ_IS_RECORDS_MAX 508u /* that fit */
typedef struct {
    int16_t code;
} afe_read_is_record_t;
static inline size_t afe_read_is_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_READ_IS_SIZE ? 0 : (n - AFE_READ_IS_SIZE) / AFE_READ_IS_RECORD_SIZE;
}
static inline size_t afe_read_is_size(size_t records)
{
    return AFE_READ_IS_SIZE + records * AFE_READ_IS_RECORD_SIZE;
}
static inline void afe_read_is_record_pack(const afe_read_is_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_read_is_size(index);
    put_i16(p + 0, m->code);
}
static inline void afe_read_is_record_unpack(afe_read_is_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_read_is_size(index);
    m->code = get_i16(p + 0);
}

/* AFE_PULSE, to afe */
#define AFE_PULSE_SIZE 1u
typedef struct {
    uint8_t array;
} afe_pulse_msg_t;
static inline size_t afe_pulse_pack(const afe_pulse_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->array);
    return AFE_PULSE_SIZE;
}
static inline bool afe_pulse_unpack(afe_pulse_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_PULSE_SIZE || (n - AFE_PULSE_SIZE) % 13u != 0)
        return false;
    m->array = get_u8(p + 0);
    return true;
}
#define AFE_PULSE_RECORD_SIZE 13u
#define AFE_PULSE_RECORDS_MAX 78u /* that fit */
typedef struct {
    uint16_t row;
    uint16_t col;
    int8_t polarity;
    uint16_t line_code;
    uint16_t gate_code;
    uint32_t width_ns;
} afe_pulse_record_t;
static inline size_t afe_pulse_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_PULSE_SIZE ? 0 : (n - AFE_PULSE_SIZE) / AFE_PULSE_RECORD_SIZE;
}
static inline size_t afe_pulse_size(size_t records)
{
    return AFE_PULSE_SIZE + records * AFE_PULSE_RECORD_SIZE;
}
static inline void afe_pulse_record_pack(const afe_pulse_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_pulse_size(index);
    put_u16(p + 0, m->row);
    put_u16(p + 2, m->col);
    put_i8(p + 4, m->polarity);
    put_u16(p + 5, m->line_code);
    put_u16(p + 7, m->gate_code);
    put_u32(p + 9, m->width_ns);
}
static inline void afe_pulse_record_unpack(afe_pulse_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_pulse_size(index);
    m->row = get_u16(p + 0);
    m->col = get_u16(p + 2);
    m->polarity = get_i8(p + 4);
    m->line_code = get_u16(p + 5);
    m->gate_code = get_u16(p + 7);
    m->width_ns = get_u32(p + 9);
}

/* AFE_PULSED, to mcu */
#define AFE_PULSED_SIZE 8u
typedef struct {
    uint64_t time_ns;
} afe_pulsed_msg_t;
static inline size_t afe_pulsed_pack(const afe_pulsed_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    return AFE_PULSED_SIZE;
}
static inline bool afe_pulsed_unpack(afe_pulsed_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_PULSED_SIZE || (n - AFE_PULSED_SIZE) % 1u != 0)
        return false;
    m->time_ns = get_u64(p + 0);
    return true;
}
#define AFE_PULSED_RECORD_SIZE 1u
#define AFE_PULSED_RECORDS_MAX 1016u /* that fit */
typedef struct {
    uint8_t compliance;
} afe_pulsed_record_t;
static inline size_t afe_pulsed_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_PULSED_SIZE ? 0 : (n - AFE_PULSED_SIZE) / AFE_PULSED_RECORD_SIZE;
}
static inline size_t afe_pulsed_size(size_t records)
{
    return AFE_PULSED_SIZE + records * AFE_PULSED_RECORD_SIZE;
}
static inline void afe_pulsed_record_pack(const afe_pulsed_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_pulsed_size(index);
    put_u8(p + 0, m->compliance);
}
static inline void afe_pulsed_record_unpack(afe_pulsed_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_pulsed_size(index);
    m->compliance = get_u8(p + 0);
}

/* AFE_SELECT, to afe */
#define AFE_SELECT_SIZE 3u
typedef struct {
    uint8_t array;
    uint8_t direction;
    uint8_t range;
} afe_select_msg_t;
static inline size_t afe_select_pack(const afe_select_msg_t *m, uint8_t *p)
{
    put_u8(p + 0, m->array);
    put_u8(p + 1, m->direction);
    put_u8(p + 2, m->range);
    return AFE_SELECT_SIZE;
}
static inline bool afe_select_unpack(afe_select_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_SELECT_SIZE || (n - AFE_SELECT_SIZE) % 1u != 0)
        return false;
    m->array = get_u8(p + 0);
    m->direction = get_u8(p + 1);
    m->range = get_u8(p + 2);
    return true;
}
#define AFE_SELECT_RECORD_SIZE 1u
#define AFE_SELECT_RECORDS_MAX 1021u /* that fit */
typedef struct {
    uint8_t bits;
} afe_select_record_t;
static inline size_t afe_select_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_SELECT_SIZE ? 0 : (n - AFE_SELECT_SIZE) / AFE_SELECT_RECORD_SIZE;
}
static inline size_t afe_select_size(size_t records)
{
    return AFE_SELECT_SIZE + records * AFE_SELECT_RECORD_SIZE;
}
static inline void afe_select_record_pack(const afe_select_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_select_size(index);
    put_u8(p + 0, m->bits);
}
static inline void afe_select_record_unpack(afe_select_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_select_size(index);
    m->bits = get_u8(p + 0);
}

/* AFE_PRODUCT, to afe */
#define AFE_PRODUCT_SIZE 2u
typedef struct {
    uint16_t vectors;
} afe_product_msg_t;
static inline size_t afe_product_pack(const afe_product_msg_t *m, uint8_t *p)
{
    put_u16(p + 0, m->vectors);
    return AFE_PRODUCT_SIZE;
}
static inline bool afe_product_unpack(afe_product_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_PRODUCT_SIZE || (n - AFE_PRODUCT_SIZE) % 2u != 0)
        return false;
    m->vectors = get_u16(p + 0);
    return true;
}
#define AFE_PRODUCT_RECORD_SIZE 2u
#define AFE_PRODUCT_RECORDS_MAX 511u /* that fit */
typedef struct {
    int16_t code;
} afe_product_record_t;
static inline size_t afe_product_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_PRODUCT_SIZE ? 0 : (n - AFE_PRODUCT_SIZE) / AFE_PRODUCT_RECORD_SIZE;
}
static inline size_t afe_product_size(size_t records)
{
    return AFE_PRODUCT_SIZE + records * AFE_PRODUCT_RECORD_SIZE;
}
static inline void afe_product_record_pack(const afe_product_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_product_size(index);
    put_i16(p + 0, m->code);
}
static inline void afe_product_record_unpack(afe_product_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_product_size(index);
    m->code = get_i16(p + 0);
}

/* AFE_PRODUCT_IS, to mcu */
#define AFE_PRODUCT_IS_SIZE 8u
typedef struct {
    uint64_t time_ns;
} afe_product_is_msg_t;
static inline size_t afe_product_is_pack(const afe_product_is_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    return AFE_PRODUCT_IS_SIZE;
}
static inline bool afe_product_is_unpack(afe_product_is_msg_t *m, const uint8_t *p, size_t n)
{
    if (n < AFE_PRODUCT_IS_SIZE || (n - AFE_PRODUCT_IS_SIZE) % 2u != 0)
        return false;
    m->time_ns = get_u64(p + 0);
    return true;
}
#define AFE_PRODUCT_IS_RECORD_SIZE 2u
#define AFE_PRODUCT_IS_RECORDS_MAX 508u /* that fit */
typedef struct {
    int16_t code;
} afe_product_is_record_t;
static inline size_t afe_product_is_count(size_t n) /* records in a payload of n bytes */
{
    return n < AFE_PRODUCT_IS_SIZE ? 0 : (n - AFE_PRODUCT_IS_SIZE) / AFE_PRODUCT_IS_RECORD_SIZE;
}
static inline size_t afe_product_is_size(size_t records)
{
    return AFE_PRODUCT_IS_SIZE + records * AFE_PRODUCT_IS_RECORD_SIZE;
}
static inline void afe_product_is_record_pack(const afe_product_is_record_t *m, uint8_t *payload, size_t index)
{
    uint8_t *p = payload + afe_product_is_size(index);
    put_i16(p + 0, m->code);
}
static inline void afe_product_is_record_unpack(afe_product_is_record_t *m, const uint8_t *payload, size_t index)
{
    const uint8_t *p = payload + afe_product_is_size(index);
    m->code = get_i16(p + 0);
}

/* AFE_FAILED, to mcu */
#define AFE_FAILED_SIZE 72u
typedef struct {
    uint64_t time_ns;
    char text[64];
} afe_failed_msg_t;
static inline size_t afe_failed_pack(const afe_failed_msg_t *m, uint8_t *p)
{
    put_u64(p + 0, m->time_ns);
    memcpy(p + 8, m->text, 64);
    return AFE_FAILED_SIZE;
}
static inline bool afe_failed_unpack(afe_failed_msg_t *m, const uint8_t *p, size_t n)
{
    if (n != AFE_FAILED_SIZE)
        return false;
    m->time_ns = get_u64(p + 0);
    memcpy(m->text, p + 8, 64);
    return true;
}

#endif
