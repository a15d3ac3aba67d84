# Source this file (bash or zsh, from any folder): `sipmask`, rclpy and the messages of
# sipmask_ros work in that shell. `make env` makes what it points to.

if [ -n "${BASH_VERSION:-}" ]; then
    _sipmask_file=${BASH_SOURCE[0]}
elif [ -n "${ZSH_VERSION:-}" ]; then
    eval '_sipmask_file=${(%):-%x}'
else
    _sipmask_file=./env.sh
fi
_sipmask_root=$(cd "$(dirname "$_sipmask_file")" && pwd)

if [ ! -x "$_sipmask_root/.venv/bin/python" ]; then
    echo "There is no environment in $_sipmask_root/.venv yet; run: make -C '$_sipmask_root' env" >&2
    unset _sipmask_file _sipmask_root
    return 1
fi

# Puts $2 in front of the list in variable $1, once.
_sipmask_prepend() {
    eval "_sipmask_list=\${$1:-}"
    case ":$_sipmask_list:" in
        *":$2:"*) ;;
        *) export "$1=$2${_sipmask_list:+:$_sipmask_list}" ;;
    esac
}

# The wheels bring no environment hooks: their prefix is the virtual environment. Their Python
# re-executes itself once to set LD_LIBRARY_PATH; a mark inherited from another shell would
# prevent that.
_sipmask_package=$_sipmask_root/install/sipmask_ros
_sipmask_prepend PATH "$_sipmask_root/.venv/bin"
_sipmask_prepend AMENT_PREFIX_PATH "$_sipmask_root/.venv"
_sipmask_prepend AMENT_PREFIX_PATH "$_sipmask_package"
_sipmask_prepend CMAKE_PREFIX_PATH "$_sipmask_root/.venv"
_sipmask_prepend CMAKE_PREFIX_PATH "$_sipmask_package"
_sipmask_prepend LD_LIBRARY_PATH "$_sipmask_package/lib"
for _sipmask_site in "$_sipmask_root"/.venv/lib/python3.*/site-packages; do
    _sipmask_python=${_sipmask_site%/site-packages}
    _sipmask_prepend PYTHONPATH "$_sipmask_package/lib/${_sipmask_python##*/}/site-packages"
done
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
unset _sipmask_file _sipmask_root _sipmask_package _sipmask_site _sipmask_python _sipmask_list
unset -f _sipmask_prepend
