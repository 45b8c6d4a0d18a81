# What Haulier may do on Nomad, in the namespace that its runs are in, and nothing more. See docs/nomad.md.

namespace "jobs" {
  capabilities = ["list-jobs", "read-job", "submit-job", "read-logs"]

  variables {
    path "nomad/jobs/r-*" {
      capabilities = ["write", "destroy"]
    }
  }
}

# Only to see the cluster's version in `haulier engine list`.
agent {
  policy = "read"
}
