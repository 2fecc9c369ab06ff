// What Caffe's headers need of cuRAND, as in cublas_v2.h.
typedef struct curandGenerator_st* curandGenerator_t;
typedef enum { CURAND_STATUS_SUCCESS } curandStatus_t;
