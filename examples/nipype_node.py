"""The analysis as a node of a Nipype workflow, and as a task of Pydra.

``python examples/nipype_node.py FILE FOLDER`` runs the node on one file with Nipype.
"""

import sys
from pathlib import Path

OUTPUTS = ["favors", "result", "ratios", "report"]


def spectroscopy(in_file, out_dir):
    """Return the label and the paths of the results; plain types in and out."""
    from mrs_necrosis.cohort import analyze_file

    done = analyze_file(in_file, out_dir)
    return done["favors"], done["result"], done["ratios"], done["report"]


def nipype_node(name="spectroscopy"):
    """Return a node; connect ``in_file`` to a converter and ``report`` to a data sink."""
    from nipype import Function, Node

    interface = Function(
        input_names=["in_file", "out_dir"], output_names=OUTPUTS, function=spectroscopy
    )
    return Node(interface, name=name)


def pydra_task(**inputs):
    """Return a task: ``pydra_task(in_file=..., out_dir=...)()`` runs it."""
    outputs = dict.fromkeys(OUTPUTS, str)
    try:
        from pydra.compose import python
    except ImportError:  # before 1.0
        from pydra import mark

        return mark.task(mark.annotate({"return": outputs})(spectroscopy))(**inputs)
    return python.define(spectroscopy, outputs=outputs)(**inputs)


if __name__ == "__main__":
    node = nipype_node()
    node.inputs.in_file, node.inputs.out_dir = (str(Path(word).resolve()) for word in sys.argv[1:])
    sys.stdout.write(f"{node.run().outputs}\n")
