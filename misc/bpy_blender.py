"""Blender's command line on top of the `bpy` package: as much of it as Croft uses.

Takes, in the order given, as Blender does: a .blend file, -b --background, --factory-startup, -y
--enable-autoexec, -Y --disable-autoexec, --python FILE, --python-expr TEXT, --python-exit-code N,
-o --render-output, -F --render-format, -t -E -s -e -f -a, --version. Everything after `--` is the scripts'.
"""

import os
import runpy
import sys
import traceback


def main(arguments: "list[str]") -> int:
    import bpy

    end = arguments.index("--") if "--" in arguments else len(arguments)
    todo = arguments[:end]
    exit_code = 0
    scene = lambda: bpy.context.scene  # noqa: E731  (each file has another)
    while todo:
        word = todo.pop(0)
        if word == "--version":
            print(f"Blender {bpy.app.version_string}")
            return 0
        elif word == "--factory-startup":
            bpy.ops.wm.read_factory_settings()
        elif word in ("-y", "--enable-autoexec", "-Y", "--disable-autoexec"):
            bpy.context.preferences.filepaths.use_scripts_auto_execute = word in ("-y", "--enable-autoexec")
        elif word == "--python-exit-code":
            exit_code = int(todo.pop(0))
        elif word in ("-P", "--python", "--python-expr"):
            try:
                run(todo.pop(0), is_text=word == "--python-expr")
            except Exception:
                traceback.print_exc()
                if exit_code:
                    return exit_code
        elif word in ("-o", "--render-output"):
            scene().render.filepath = todo.pop(0)
        elif word in ("-F", "--render-format"):
            scene().render.image_settings.file_format = todo.pop(0)
        elif word in ("-t", "--threads"):
            scene().render.threads_mode, scene().render.threads = "FIXED", int(todo.pop(0))
        elif word in ("-E", "--engine"):
            scene().render.engine = todo.pop(0)
        elif word in ("-s", "--frame-start"):
            scene().frame_start = int(todo.pop(0))
        elif word in ("-e", "--frame-end"):
            scene().frame_end = int(todo.pop(0))
        elif word in ("-a", "--render-anim"):
            bpy.ops.render.render(animation=True)
        elif word in ("-f", "--render-frame"):
            template = scene().render.filepath
            for frame in map(int, todo.pop(0).split(",")):
                scene().frame_set(frame)
                scene().render.filepath = scene().render.frame_path(frame=frame)
                bpy.ops.render.render(write_still=True)
                scene().render.filepath = template
        elif not word.startswith("-"):
            bpy.ops.wm.open_mainfile(filepath=os.path.abspath(word))
    return 0


def run(what: str, is_text: bool) -> None:
    if is_text:
        exec(compile(what, "<command line>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    # A child must be able to tell that the renderer has really gone, threads and all.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
