from common.metrics_folder import check_folder

check_folder()  # here, as it has to be before any metric is made, in whatever order modules are imported
