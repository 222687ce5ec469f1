@echo off
rem Start KIV on Windows, as ./kiv does elsewhere: the first run sets up .venv beside this file.
rem It has been run under Wine, never on Windows itself (docs/windows.md).
setlocal EnableExtensions DisableDelayedExpansion
set "root=%~dp0"

pushd "%root%"
call :is_set_up
if "%errorlevel%"=="0" goto start
call :set_up 1>&2
if "%errorlevel%"=="0" goto start
set "failed=%errorlevel%"
rem A console that a double click or a dropped file has opened closes before anybody can read it.
if "%~1"=="" pause 1>&2
if not "%~1"=="" if exist "%~1" pause 1>&2
exit /b %failed%

:start
popd
rem Not from what pip noted in .venv: Python before 3.13 misreads a folder there whose name is not plain ASCII.
if defined PYTHONPATH set "PYTHONPATH=;%PYTHONPATH%"
set "PYTHONPATH=%root%%PYTHONPATH%"
rem The window needs no console behind it; what prints has one.
if "%~1"=="" goto window
if "%~1"=="app" goto window
set "module=kiv_engine.cli"
if "%~1"=="demo" set "module=app"
if "%~1"=="screenshots" set "module=app"
if "%~1"=="install" set "module=app"
rem A file, such as one that is dropped on this one: no command has a dot or a slash.
set "first=%~1"
if "%first:~0,1%"=="-" goto command
if not "%first%"=="%first:.=%" goto files
if not "%first%"=="%first:/=%" goto files
if not "%first%"=="%first:\=%" goto files

:command
"%root%.venv\Scripts\python.exe" -P -m %module% %*
exit /b %errorlevel%

:window
start "" "%root%.venv\Scripts\pythonw.exe" -P -m app %*
exit /b 0

:files
start "" "%root%.venv\Scripts\pythonw.exe" -P -m app app %*
exit /b 0

rem From here on the current folder is this file's: its own name may hold what cmd.exe would take for its language.

rem What it was set up from lies in .venv as a copy, put there last.
:is_set_up
set "same=import filecmp, sys; sys.exit(not all(filecmp.cmp(name, '.venv/' + name, False) for name in sys.argv[1:]))"
.venv\Scripts\python.exe -I -S -c "%same%" pyproject.toml constraints.txt >nul 2>&1
exit /b %errorlevel%

:set_up
if exist .venv\constraints.txt del .venv\constraints.txt
echo kiv: [1/3] Making the environment in .venv
.venv\Scripts\python.exe -P -m pip --version >nul 2>&1
if "%errorlevel%"=="0" goto install
set "fits=import sys; sys.exit(sys.version_info < (3, 11) or sys.maxsize < 2**32)"
set "base=py -3"
%base% -c "%fits%" >nul 2>&1
if "%errorlevel%"=="0" goto make
set "base=python"
%base% -c "%fits%" >nul 2>&1
if "%errorlevel%"=="0" goto make
echo kiv: KIV needs Python 3.11 or newer for 64 bits, from python.org. Then try again.
exit /b 1

:make
%base% -m venv --clear .venv
if "%errorlevel%"=="0" goto install
echo kiv: Python cannot make .venv. Then try again.
exit /b 1

:install
set "torch_arguments="
.venv\Scripts\python.exe -I packaging\choose_torch.py >.venv\torch-arguments
if not "%errorlevel%"=="0" exit /b %errorlevel%
set /p torch_arguments=<.venv\torch-arguments
echo kiv: [2/3] Installing the libraries (the first time this takes some minutes)
if exist .venv\setup.log del .venv\setup.log
set "pip=.venv\Scripts\python.exe -P -m pip --disable-pip-version-check --no-input --log .venv\setup.log"
%pip% install --constraint constraints.txt %torch_arguments% --editable .[app]
if not "%errorlevel%"=="0" (
    echo kiv: Installing failed, details: .venv\setup.log. Then try again.
    exit /b 1
)
echo kiv: [3/3] Trying the libraries
.venv\Scripts\python.exe -P -c "import torch, transformers"
if not "%errorlevel%"=="0" (
    echo kiv: The installed libraries do not load. Try again after mending what is said above.
    exit /b 1
)
copy /y pyproject.toml .venv\ >nul
copy /y constraints.txt .venv\ >nul
echo kiv: Ready.
exit /b 0
