// What Caffe's headers need of cuBLAS, for toolkits that come without it: enough
// to compile, see tests/compile_cuda.sh.
typedef struct cublasContext* cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS } cublasStatus_t;
