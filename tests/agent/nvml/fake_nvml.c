/* A made libnvidia-ml.so.1 for tests: GPUs whose values are a table of names and numbers that the test sets. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#define SUCCESS 0
#define UNINITIALIZED 1
#define INVALID 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT 7
#define MAX_KEYS 512
#define MAX_GPUS 8
#define MAX_MIG 8

typedef struct { int gpu, mig; } Device;
typedef struct { int marker; double at; } Sample;

static struct { char name[64]; long long value; } table[MAX_KEYS];
static int keys, started, live_samples;
static Device devices[MAX_GPUS][MAX_MIG + 1];

void fake_reset(void) { keys = started = live_samples = 0; }

void fake_set(const char *name, long long value) {
    for (int i = 0; i < keys; i++)
        if (!strcmp(table[i].name, name)) { table[i].value = value; return; }
    snprintf(table[keys].name, sizeof table[keys].name, "%s", name);
    table[keys++].value = value;
}

long long fake_get(const char *name, long long otherwise) {
    for (int i = 0; i < keys; i++)
        if (!strcmp(table[i].name, name)) return table[i].value;
    return otherwise;
}

int fake_samples(void) { return live_samples; }
int fake_started(void) { return started; }

/* The value of a device: "<gpu>.<name>", of a MIG instance "<gpu>/<instance>.<name>", else "<name>". */
static long long of(Device *d, const char *name, long long otherwise) {
    char key[64];
    if (d->mig >= 0) snprintf(key, sizeof key, "%d/%d.%s", d->gpu, d->mig, name);
    else snprintf(key, sizeof key, "%d.%s", d->gpu, name);
    return fake_get(key, fake_get(name, otherwise));
}

/* Counts the call, hangs if it is told to, and gives the error that was set for it. */
static int enter(Device *d, const char *call) {
    char key[64];
    snprintf(key, sizeof key, "calls %s", call);
    fake_set(key, fake_get(key, 0) + 1);
    snprintf(key, sizeof key, "hang %s", call);
    while (fake_get(key, 0)) usleep(1000);
    snprintf(key, sizeof key, "fail %s", call);
    int error = d ? (int)of(d, key, 0) : (int)fake_get(key, 0);
    if (error) return error;
    if (d && (error = (int)of(d, "lost", 0))) return error;
    return started ? SUCCESS : UNINITIALIZED;
}

#define ENTER(d) do { int error_ = enter((Device *)(d), __func__); if (error_) return error_; } while (0)
#define NOT_ON_MIG(d) do { if (((Device *)(d))->mig >= 0) return NOT_SUPPORTED; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    int error = (int)fake_get("fail init", 0);
    while (fake_get("hang init", 0)) usleep(1000);
    if (!error) started++;
    return error;
}
int nvmlShutdown(void) { if (!started) return UNINITIALIZED; started--; return SUCCESS; }
const char *nvmlErrorString(int code) { static char text[32]; snprintf(text, sizeof text, "error %d", code); return text; }

int nvmlDeviceGetCount_v2(unsigned *count) { ENTER(0); *count = (unsigned)fake_get("count", 1); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    ENTER(0);
    if (index >= MAX_GPUS) return INVALID;
    Device *d = &devices[index][MAX_MIG];
    d->gpu = (int)index; d->mig = -1;
    *device = d;
    return (int)of(d, "lost", 0);
}
typedef struct { char old[16]; unsigned domain, bus, device, id, sub; char text[32]; } Pci;
int nvmlDeviceGetPciInfo_v3(void *d, Pci *pci) {
    ENTER(d);
    memset(pci, 0, sizeof *pci);
    pci->bus = 0xa0 + (unsigned)((Device *)d)->gpu;
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *p, char *text, unsigned size) {
    Device *d = p; ENTER(d);
    if (d->mig < 0) snprintf(text, size, "GPU-%d", d->gpu);
    else snprintf(text, size, "MIG-%d-%d-%d", d->gpu, d->mig, (int)of(d, "made", 0));
    return SUCCESS;
}
int nvmlDeviceGetName(void *p, char *text, unsigned size) {
    Device *d = p; ENTER(d);
    snprintf(text, size, d->mig < 0 ? "NVIDIA A100" : "NVIDIA A100 MIG 1g.5gb");
    return SUCCESS;
}
int nvmlDeviceGetSerial(void *d, char *text, unsigned size) { ENTER(d); snprintf(text, size, "1650"); return SUCCESS; }
int nvmlDeviceGetBoardPartNumber(void *d, char *text, unsigned size) { ENTER(d); snprintf(text, size, "900-2"); return SUCCESS; }

int nvmlDeviceGetUtilizationRates(void *d, unsigned *rates) {
    ENTER(d); NOT_ON_MIG(d);
    rates[0] = (unsigned)of(d, "util", 50); rates[1] = (unsigned)of(d, "mem_util", 25);
    return SUCCESS;
}
static int three(Device *d, unsigned long long *memory) {
    memory[0] = (unsigned long long)of(d, "memory", 80LL << 30);
    memory[2] = (unsigned long long)of(d, "memory used", 4LL << 30);
    memory[1] = memory[0] - memory[2];
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *d, unsigned long long *memory) { ENTER(d); return three(d, memory); }
int nvmlDeviceGetBAR1MemoryInfo(void *d, unsigned long long *memory) { ENTER(d); return three(d, memory); }

#define NUMBER(name, key, otherwise) \
    int name(void *d, unsigned *value) { ENTER(d); NOT_ON_MIG(d); *value = (unsigned)of(d, key, otherwise); return SUCCESS; }
NUMBER(nvmlDeviceGetFanSpeed, "fan", 30)
NUMBER(nvmlDeviceGetPerformanceState, "state", 2)
NUMBER(nvmlDeviceGetPowerUsage, "power mW", 250500)
NUMBER(nvmlDeviceGetPowerManagementLimit, "limit mW", 400000)
int nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *value) { ENTER(d); NOT_ON_MIG(d); *value = 55; return SUCCESS; }
int nvmlDeviceGetEccMode(void *d, unsigned *now, unsigned *pending) { ENTER(d); NOT_ON_MIG(d); *now = 0; *pending = 1; return SUCCESS; }
int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *value) {
    ENTER(d); NOT_ON_MIG(d); *value = (unsigned long long)of(d, "energy mJ", 1000000); return SUCCESS;
}
int nvmlDeviceGetClockInfo(void *d, unsigned kind, unsigned *value) { ENTER(d); NOT_ON_MIG(d); *value = 1000 + kind; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(void *d, unsigned kind, unsigned *value) { ENTER(d); NOT_ON_MIG(d); *value = 2000 + kind; return SUCCESS; }
int nvmlDeviceGetTotalEccErrors(void *d, unsigned kind, unsigned counter, unsigned long long *value) {
    ENTER(d); *value = kind ? 7 : 70; return counter == 1 ? SUCCESS : INVALID;
}
int nvmlDeviceGetEncoderUtilization(void *d, unsigned *value, unsigned *period) { ENTER(d); NOT_ON_MIG(d); *value = 11; *period = 1; return SUCCESS; }
int nvmlDeviceGetDecoderUtilization(void *d, unsigned *value, unsigned *period) { ENTER(d); NOT_ON_MIG(d); *value = 12; *period = 1; return SUCCESS; }
int nvmlDeviceGetRemappedRows(void *d, unsigned *c, unsigned *u, unsigned *p, unsigned *f) {
    ENTER(d); NOT_ON_MIG(d); *c = 1; *u = 2; *p = 0; *f = 1; return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *value) { ENTER(d); NOT_ON_MIG(d); *value = 4; return SUCCESS; }
int nvmlDeviceGetViolationStatus(void *d, unsigned policy, unsigned long long *times) {
    ENTER(d); NOT_ON_MIG(d); times[0] = 1; times[1] = 1000000000ULL * (policy + 1); return SUCCESS;
}
int nvmlDeviceGetNvLinkState(void *d, unsigned link, unsigned *active) {
    ENTER(d);
    if (link >= (unsigned)of(d, "links", 2)) return INVALID;
    *active = link != 1;
    return SUCCESS;
}
int nvmlDeviceGetNvLinkErrorCounter(void *d, unsigned link, unsigned counter, unsigned long long *value) {
    ENTER(d); *value = 10 * (link + 1) + counter; return SUCCESS;
}
typedef struct { unsigned id, scope; long long at, latency; unsigned type; int error; union { double d; unsigned long long u; } value; } Field;
int nvmlDeviceGetFieldValues(void *p, int count, Field *fields) {
    Device *d = p; ENTER(d);
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "field %u", fields[i].id);
        long long value = of(d, key, -1);
        fields[i].error = value < 0 ? NOT_SUPPORTED : SUCCESS;
        if ((fields[i].id == 138 || fields[i].id == 139) && fields[i].scope != 0xffffffffU) fields[i].error = INVALID;
        fields[i].type = 3;
        fields[i].value.u = (unsigned long long)value;
    }
    return SUCCESS;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned gi, ci; } Process;
static int processes(Device *d, const char *kind, unsigned *count, Process *list) {
    char key[32];
    snprintf(key, sizeof key, "%s count", kind);
    unsigned there = (unsigned)of(d, key, 0);
    if (there > *count) { *count = there; return INSUFFICIENT; }
    for (unsigned i = 0; i < there; i++) {
        snprintf(key, sizeof key, "%s pid %u", kind, i);
        list[i].pid = (unsigned)of(d, key, 0);
        snprintf(key, sizeof key, "%s memory %u", kind, i);
        list[i].memory = (unsigned long long)of(d, key, -1);
    }
    *count = there;
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *count, Process *list) { ENTER(d); return processes(d, "compute", count, list); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *d, unsigned *count, Process *list) { ENTER(d); return processes(d, "graphics", count, list); }

int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *pending) { ENTER(d); *now = *pending = (unsigned)of(d, "mig", 0); return SUCCESS; }
int nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned *count) { ENTER(d); *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *p, unsigned index, void **instance) {
    Device *parent = p; ENTER(parent);
    if (index >= (unsigned)of(parent, "instances", 0)) return NOT_FOUND;
    Device *d = &devices[parent->gpu][index];
    d->gpu = parent->gpu; d->mig = (int)index;
    *instance = d;
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(void *d, unsigned *id) { ENTER(d); *id = (unsigned)((Device *)d)->mig + 1; return SUCCESS; }

typedef struct { unsigned version, supported; } Support;
int nvmlGpmQueryDeviceSupport(void *d, Support *support) { ENTER(d); support->supported = (unsigned)of(d, "gpm", 0); return SUCCESS; }
int nvmlGpmSampleAlloc(Sample **sample) { *sample = calloc(1, sizeof **sample); live_samples++; return SUCCESS; }
int nvmlGpmSampleFree(Sample *sample) { free(sample); live_samples--; return SUCCESS; }
int nvmlGpmSampleGet(void *d, Sample *sample) { ENTER(d); sample->marker = 100; return SUCCESS; }
int nvmlGpmMigSampleGet(void *d, unsigned instance, Sample *sample) { ENTER(d); sample->marker = (int)instance; return SUCCESS; }
typedef struct { unsigned id; int error; double value; const char *texts[3]; } Metric;
typedef struct { unsigned version, count; Sample *first, *second; Metric metrics[]; } Request;
int nvmlGpmMetricsGet(Request *request) {
    for (unsigned i = 0; i < request->count; i++) {
        request->metrics[i].error = request->metrics[i].id == (unsigned)fake_get("gpm fails", 0) ? NOT_SUPPORTED : SUCCESS;
        request->metrics[i].value = request->second->marker == 100 ? request->metrics[i].id : 10.0 * request->second->marker;
    }
    return SUCCESS;
}
