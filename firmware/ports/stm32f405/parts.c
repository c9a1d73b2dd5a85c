#include "parts.h"

#include "port.h"
#include "wiring.h"

enum { SPI_PATIENCE = 10000 };

/* LTC2688: a command byte and 16 bits; what a read asks for comes with the next word. */
enum { LTC2688_CODE = 0x00, LTC2688_SETTING = 0x10, LTC2688_CODE_UPDATE = 0x40, LTC2688_CONFIG = 0x70 };
enum { LTC2688_UPDATE_ALL = 0x7C, LTC2688_READ = 0x80, LTC2688_NOTHING = 0xFF };
enum { LTC2688_SPAN_5V_BIPOLAR = 2, LTC2688_SPAN_MASK = 7, LTC2688_RESET = 0x8000, LTC2688_CHANNELS = 16 };
enum { LTC2688_RESET_US = 10000 };

/* ADS8688: a command starts a conversion, whose code comes with the next; or a register's address and value. */
enum { ADS8688_NOTHING = 0x0000, ADS8688_RESET = 0x8500, ADS8688_CHANNEL = 0xC000 };
enum { ADS8688_RANGE = 0x05, ADS8688_WRITE = 1, ADS8688_PLUS_MINUS_5V12 = 1 };

enum { ADG1414_BYTES = 3 * LINES / 8 };

static bool set_up; /* and not found wanting since */

void wait_us(uint32_t us)
{
    const uint64_t until_us = port_now_us() + us + 1;
    while (port_now_us() < until_us)
        ;
}

static void spi_start(uint32_t spi, pin_t clock, pin_t out, pin_t in, uint32_t function, uint32_t settings)
{
    pin_alternate(clock, function);
    pin_alternate(out, function);
    pin_alternate(in, function);
    SPI_CR1(spi) = settings | SPI_CR1_MSTR | SPI_CR1_SSM | SPI_CR1_SSI | SPI_CR1_SPE;
}

/* Sends `bytes`, and puts what came back in their place. */
static bool spi_exchange(uint32_t spi, pin_t select, uint8_t *bytes, size_t count)
{
    bool answered = true;
    pin_set(select, false);
    for (size_t i = 0; i < count && answered; i++) {
        uint32_t patience = SPI_PATIENCE;
        SPI_DR(spi) = bytes[i];
        while (!(SPI_SR(spi) & SPI_SR_RXNE) && --patience > 0)
            ;
        answered = patience > 0;
        bytes[i] = (uint8_t)SPI_DR(spi);
    }
    pin_set(select, true);
    return answered;
}

static bool ltc2688(uint32_t dac, uint32_t command, uint32_t value, uint32_t *answer)
{
    uint8_t word[3] = {(uint8_t)command, (uint8_t)(value >> 8), (uint8_t)value};
    if (!spi_exchange(SPI1, PIN_DAC[dac], word, sizeof word))
        return false;
    if (answer)
        *answer = (uint32_t)word[1] << 8 | word[2];
    return true;
}

static uint32_t ltc2688_code(int32_t code)
{
    return (uint32_t)(0x8000 + code);
}

static bool dac_set_up(uint32_t dac)
{
    bool done = true;
    for (uint32_t channel = 0; channel < LTC2688_CHANNELS; channel++) {
        done = done && ltc2688(dac, LTC2688_CODE + channel, ltc2688_code(0), NULL);
        done = done && ltc2688(dac, LTC2688_SETTING + channel, LTC2688_SPAN_5V_BIPOLAR, NULL);
    }
    return done && dac_update(dac);
}

static bool dac_is_set_up(uint32_t dac)
{
    uint32_t setting;
    return ltc2688(dac, LTC2688_READ | (LTC2688_SETTING + LTC2688_CHANNELS - 1), 0, NULL) &&
           ltc2688(dac, LTC2688_NOTHING, 0, &setting) && (setting & LTC2688_SPAN_MASK) == LTC2688_SPAN_5V_BIPOLAR;
}

bool dac_set(uint32_t dac, uint32_t channel, int32_t code)
{
    return ltc2688(dac, LTC2688_CODE_UPDATE + channel, ltc2688_code(code), NULL);
}

bool dac_load(uint32_t dac, uint32_t channel, int32_t code)
{
    return ltc2688(dac, LTC2688_CODE + channel, ltc2688_code(code), NULL);
}

bool dac_update(uint32_t dac)
{
    return ltc2688(dac, LTC2688_UPDATE_ALL, 0, NULL);
}

static bool ads8688(uint32_t adc, uint32_t command, uint32_t *answer)
{
    uint8_t word[4] = {(uint8_t)(command >> 8), (uint8_t)command, 0, 0};
    if (!spi_exchange(SPI2, PIN_ADC[adc], word, sizeof word))
        return false;
    if (answer)
        *answer = (uint32_t)word[2] << 8 | word[3];
    return true;
}

/* A register's value comes back in the third byte, of a write too. */
static bool ads8688_register(uint32_t adc, uint32_t address, uint32_t value, uint32_t write, uint32_t *answer)
{
    uint8_t word[3] = {(uint8_t)(address << 1 | write), (uint8_t)value, 0};
    if (!spi_exchange(SPI2, PIN_ADC[adc], word, sizeof word))
        return false;
    if (answer)
        *answer = word[2];
    return true;
}

static bool adc_set_up(uint32_t adc)
{
    bool done = ads8688(adc, ADS8688_RESET, NULL);
    for (uint32_t channel = 0; channel < ADC_CHANNELS; channel++)
        done = done && ads8688_register(adc, ADS8688_RANGE + channel, ADS8688_PLUS_MINUS_5V12, ADS8688_WRITE, NULL);
    return done;
}

static bool adc_is_set_up(uint32_t adc)
{
    uint32_t range;
    return ads8688_register(adc, ADS8688_RANGE + ADC_CHANNELS - 1, 0, 0, &range) && range == ADS8688_PLUS_MINUS_5V12;
}

bool adc_measure(const uint8_t *lines, size_t count, int16_t *codes)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t adc = lines[i] / ADC_CHANNELS, channel = lines[i] % ADC_CHANNELS;
        uint32_t raw;
        if (!ads8688(adc, ADS8688_CHANNEL | channel << 10, NULL) || !ads8688(adc, ADS8688_NOTHING, &raw))
            return false;
        const int32_t code = 0x8000 - (int32_t)raw; /* the amplifier inverts */
        codes[i] = (int16_t)(code > ADC_TOP ? ADC_TOP : code < -ADC_TOP ? -ADC_TOP : code);
    }
    return true;
}

void adc_range(uint32_t range)
{
    pin_set(PIN_RANGE[0], range & 1u);
    pin_set(PIN_RANGE[1], range & 2u);
}

/* A chain of shift registers: what is sent twice comes back the second time. */
bool lines_connect(uint32_t driven, uint32_t measured)
{
    const uint32_t closed[3] = {driven, measured, ~(driven | measured)};
    uint8_t sent[ADG1414_BYTES], back[ADG1414_BYTES];
    bool same = true;
    for (uint32_t i = 0; i < ADG1414_BYTES; i++)
        sent[i] = back[i] = (uint8_t)(closed[i / 4] >> (24 - 8 * (i % 4)));
    if (!spi_exchange(SPI3, PIN_SWITCH, back, sizeof back))
        return false;
    for (uint32_t i = 0; i < ADG1414_BYTES; i++)
        back[i] = sent[i];
    if (!spi_exchange(SPI3, PIN_SWITCH, back, sizeof back))
        return false;
    for (uint32_t i = 0; i < ADG1414_BYTES; i++)
        same = same && back[i] == sent[i];
    return same;
}

void window_open(uint32_t width_ns)
{
    const uint64_t cycles = (uint64_t)width_ns * 84u / 1000u; /* of 84 MHz */
    window_close();
    TIM5_ARR = cycles > 0 ? (uint32_t)cycles : 1u;
    TIM5_CCR1 = 1; /* low at a count of 0, where the timer rests; high from 1 to the end */
    TIM5_SR = 0;
    TIM5_CCMR1 = TIM_CCMR1_OC1_PWM2;
    TIM5_CR1 = TIM_CR1_OPM | TIM_CR1_URS | TIM_CR1_CEN;
}

bool window_is_open(void)
{
    return TIM5_CR1 & TIM_CR1_CEN;
}

void window_close(void)
{
    TIM5_CCMR1 = TIM_CCMR1_OC1_FORCED_LOW;
    TIM5_CR1 = TIM_CR1_OPM | TIM_CR1_URS;
    TIM5_CNT = 0;
}

void port_cut(void)
{
    window_close();
}

void limit_set(uint32_t i_max_na)
{
    const uint64_t uv = (uint64_t)i_max_na * LIMIT_UV_PER_MA / 1000000u;
    const uint64_t code = uv * LIMIT_DAC_TOP / LIMIT_DAC_UV;
    DAC_DHR12R1 = code < LIMIT_DAC_TOP ? (uint32_t)code : LIMIT_DAC_TOP;
}

void limit_clear(void)
{
    pin_set(PIN_LIMIT_CLEAR, false);
    pin_set(PIN_LIMIT_CLEAR, true);
}

bool limit_hit(void)
{
    return pin_get(PIN_LIMIT_HIT);
}

void parts_start(void)
{
    /* The window first: closed before its pin leaves the resistor that holds it low. */
    TIM5_PSC = 0;
    window_close();
    TIM5_CCER = TIM_CCER_CC1E;
    pin_alternate(PIN_DRIVE, 2);

    for (uint32_t i = 0; i < DACS; i++)
        pin_output(PIN_DAC[i], true);
    for (uint32_t i = 0; i < ADCS; i++)
        pin_output(PIN_ADC[i], true);
    pin_output(PIN_SWITCH, true);
    pin_output(PIN_LIMIT_CLEAR, true);
    pin_input(PIN_LIMIT_HIT);
    pin_output(PIN_RANGE[0], false);
    pin_output(PIN_RANGE[1], false);
    adc_range(READ_RANGE);
    pin_analog(PIN_LIMIT_THRESHOLD);
    DAC_CR = DAC_CR_EN1;
    limit_set(0);

    /* 10.5 MHz, data at the rising edge; 10.5 MHz, falling; 5.25 MHz, falling, slow enough for the chain. */
    spi_start(SPI1, PIN_DAC_CLOCK, PIN_DAC_OUT, PIN_DAC_IN, 5, SPI_CR1_DIVIDE(3));
    spi_start(SPI2, PIN_ADC_CLOCK, PIN_ADC_OUT, PIN_ADC_IN, 5, SPI_CR1_DIVIDE(2) | SPI_CR1_CPHA);
    spi_start(SPI3, PIN_SWITCH_CLOCK, PIN_SWITCH_OUT, PIN_SWITCH_IN, 6, SPI_CR1_DIVIDE(3) | SPI_CR1_CPHA);
}

bool parts_ready(void)
{
    bool ready = true;
    if (!set_up) {
        for (uint32_t dac = 0; dac < DACS; dac++)
            ready = ready && ltc2688(dac, LTC2688_CONFIG, LTC2688_RESET, NULL);
        wait_us(LTC2688_RESET_US);
        for (uint32_t dac = 0; dac < DACS; dac++)
            ready = ready && dac_set_up(dac);
        for (uint32_t adc = 0; adc < ADCS; adc++)
            ready = ready && adc_set_up(adc);
    }
    for (uint32_t dac = 0; dac < DACS; dac++)
        ready = ready && dac_is_set_up(dac);
    for (uint32_t adc = 0; adc < ADCS; adc++)
        ready = ready && adc_is_set_up(adc);
    set_up = ready; /* a part that lost its power starts anew, after the fault was seen */
    return ready;
}
