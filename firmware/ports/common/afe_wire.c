#include "afe_wire.h"

static afe_message_t message;
static uint64_t time_ns;

/* One request; true when its answer has the type it ought to have. Every answer starts with the time. */
static bool ask(uint8_t request, size_t size, uint8_t answer)
{
    message.type = request;
    message.size = size;
    if (!afe_exchange(&message) || message.type != answer || message.size < sizeof time_ns)
        return false;
    if (get_u64(message.payload) > time_ns)
        time_ns = get_u64(message.payload);
    return true;
}

static bool done(uint8_t request, size_t size)
{
    return ask(request, size, MSG_AFE_DONE) && message.size == AFE_DONE_SIZE;
}

bool afe_open(afe_info_t *info)
{
    afe_info_msg_t is;
    time_ns = 0;
    if (!ask(MSG_AFE_OPEN, 0, MSG_AFE_INFO) || !afe_info_unpack(&is, message.payload, message.size))
        return false;
    info->arrays = is.arrays;
    info->rows = is.rows;
    info->cols = is.cols;
    info->simulated_time = true;
    info->v_max_uv = is.v_max_uv;
    info->v_gate_max_uv = is.v_gate_max_uv;
    info->i_max_na = is.i_max_na;
    info->width_max_ns = is.width_max_ns;
    info->read_full_scale_uv = is.read_full_scale_uv;
    info->read_top = is.read_top;
    info->pulse_full_scale_uv = is.pulse_full_scale_uv;
    info->pulse_top = is.pulse_top;
    info->gate_full_scale_uv = is.gate_full_scale_uv;
    info->gate_top = is.gate_top;
    info->adc_top = is.adc_top;
    info->read_range = is.read_range;
    info->ranges = is.ranges;
    memcpy(info->range_full_scale_a, is.range_full_scale_a, sizeof info->range_full_scale_a);
    return true;
}

uint64_t afe_time_ns(void)
{
    return time_ns;
}

bool afe_skip(uint64_t until_ns)
{
    const afe_skip_msg_t skip = {until_ns};
    return done(MSG_AFE_SKIP, afe_skip_pack(&skip, message.payload));
}

bool afe_arm(uint32_t i_max_na, uint32_t width_max_ns, int32_t v_gate_max_uv)
{
    const afe_arm_msg_t arm = {i_max_na, width_max_ns, v_gate_max_uv};
    return done(MSG_AFE_ARM, afe_arm_pack(&arm, message.payload));
}

bool afe_ground(void)
{
    return done(MSG_AFE_GROUND, 0);
}

bool afe_read(uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes)
{
    const afe_read_msg_t read = {array};
    if (count > AFE_READ_RECORDS_MAX)
        return false;
    (void)afe_read_pack(&read, message.payload);
    for (size_t i = 0; i < count; i++) {
        const afe_read_record_t record = {cells[i].row, cells[i].col, cells[i].code};
        afe_read_record_pack(&record, message.payload, i);
    }
    if (!ask(MSG_AFE_READ, afe_read_size(count), MSG_AFE_READ_IS) || message.size != afe_read_is_size(count))
        return false;
    for (size_t i = 0; i < count; i++) {
        afe_read_is_record_t record;
        afe_read_is_record_unpack(&record, message.payload, i);
        codes[i] = record.code;
    }
    return true;
}

bool afe_pulse(uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance)
{
    const afe_pulse_msg_t pulse = {array};
    if (count > AFE_PULSE_RECORDS_MAX)
        return false;
    (void)afe_pulse_pack(&pulse, message.payload);
    for (size_t i = 0; i < count; i++) {
        const afe_pulse_record_t record = {pulses[i].row,       pulses[i].col,       pulses[i].polarity,
                                           pulses[i].line_code, pulses[i].gate_code, pulses[i].width_ns};
        afe_pulse_record_pack(&record, message.payload, i);
    }
    if (!ask(MSG_AFE_PULSE, afe_pulse_size(count), MSG_AFE_PULSED) || message.size != afe_pulsed_size(count))
        return false;
    memcpy(compliance, message.payload + AFE_PULSED_SIZE, count);
    return true;
}

bool afe_select(uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size)
{
    const afe_select_msg_t select = {array, direction, range};
    (void)afe_select_pack(&select, message.payload);
    memcpy(message.payload + AFE_SELECT_SIZE, bits, size);
    return done(MSG_AFE_SELECT, afe_select_size(size));
}

bool afe_product(uint16_t vectors, const int16_t *in, uint16_t in_count, int16_t *out, uint16_t out_count)
{
    const afe_product_msg_t product = {vectors};
    if (in_count > AFE_PRODUCT_RECORDS_MAX || out_count > AFE_PRODUCT_IS_RECORDS_MAX)
        return false;
    (void)afe_product_pack(&product, message.payload);
    for (size_t i = 0; i < in_count; i++)
        put_u16(message.payload + afe_product_size(i), (uint16_t)in[i]);
    if (!ask(MSG_AFE_PRODUCT, afe_product_size(in_count), MSG_AFE_PRODUCT_IS) ||
        message.size != afe_product_is_size(out_count))
        return false;
    for (size_t i = 0; i < out_count; i++)
        out[i] = (int16_t)get_u16(message.payload + afe_product_is_size(i));
    return true;
}
