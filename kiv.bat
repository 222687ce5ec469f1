@echo off
rem Start KIV on Windows, as ./kiv does elsewhere: the first run sets up .venv beside this file.
rem This file has never been run: nobody on the project has had a Windows PC so far.
setlocal EnableExtensions DisableDelayedExpansion
set "root=%~dp0"
set "python=%root%.venv\Scripts\python.exe"
set "stamp=%root%.venv\setup-stamp"
set "log=%root%.venv\setup.log"

set "sources=%root%"
call :add_hash "%root%pyproject.toml"
call :add_hash "%root%constraints.txt"

set "installed="
if exist "%stamp%" set /p installed=<"%stamp%"
if exist "%python%" if "%installed%"=="%sources%" goto start

call :set_up 1>&2
if errorlevel 1 exit /b 1

:start
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
"%python%" -P -m %module% %*
exit /b %errorlevel%

:window
start "" "%root%.venv\Scripts\pythonw.exe" -P -m app %*
exit /b 0

:files
start "" "%root%.venv\Scripts\pythonw.exe" -P -m app app %*
exit /b 0

:add_hash
for /f "skip=1 delims=" %%h in ('certutil -hashfile %1 SHA256') do (
    set "sources=%sources% %%h"
    exit /b 0
)
exit /b 0

:set_up
if exist "%stamp%" del "%stamp%"
echo kiv: [1/3] Making the environment in .venv
"%python%" -m pip --version >nul 2>&1
if not errorlevel 1 goto install
py -3 -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>&1
if errorlevel 1 (
    echo kiv: KIV needs Python 3.11 or newer, from python.org. Then try again.
    exit /b 1
)
py -3 -m venv --clear "%root%.venv"
if errorlevel 1 (
    echo kiv: Python cannot make .venv. Then try again.
    exit /b 1
)

:install
set "torch_arguments="
"%python%" -I "%root%packaging\choose_torch.py" >"%root%.venv\torch-arguments"
if errorlevel 1 exit /b 1
set /p torch_arguments=<"%root%.venv\torch-arguments"
echo kiv: [2/3] Installing the libraries (the first time this takes some minutes)
if exist "%log%" del "%log%"
pushd "%root%"
"%python%" -P -m pip --disable-pip-version-check --no-input --log "%log%" install --constraint constraints.txt %torch_arguments% --editable .[app]
set "failed=%errorlevel%"
popd
if not "%failed%"=="0" (
    echo kiv: Installing failed, details: .venv\setup.log. Then try again.
    exit /b 1
)
echo kiv: [3/3] Trying the libraries
"%python%" -P -c "import torch, transformers"
if errorlevel 1 (
    echo kiv: The installed libraries do not load. Try again after mending what is said above.
    exit /b 1
)
>"%stamp%" echo %sources%
echo kiv: Ready.
exit /b 0
