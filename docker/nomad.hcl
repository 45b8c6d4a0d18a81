# Haulier on Nomad, with Nomad as its engine: one service, with its database and logs on a host volume. See docs/deploy.md.
#
#   nomad var put nomad/jobs/haulier admin_token="$(openssl rand -hex 32)" master_key="$(openssl rand -hex 32)"
#   nomad acl policy apply -namespace default -job haulier haulier docker/nomad-policy.hcl
#   nomad job run -var image=registry.example.com/haulier:1 docker/nomad.hcl
#
# Its token is its own workload identity's: the policy is bound to the job, and there is nothing to keep or renew.
# Keep the master key elsewhere too: without it no secret can be read again.

variable "image" {
  type        = string
  description = "Yours, made with docker/Dockerfile."
}

variable "namespace" {
  type        = string
  default     = "jobs"
  description = "Where the runs are. It must be there, and the policy names it."
}

job "haulier" {
  type = "service"

  group "haulier" {
    network {
      port "http" { to = 8080 }
    }

    # In the client's configuration: host_volume "haulier" { path = "/srv/haulier" }, owned by 65532:65532, mode 0700.
    volume "data" {
      type   = "host"
      source = "haulier"
    }

    service {
      name     = "haulier"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "10s"
        timeout  = "3s"
      }
    }

    # The data belongs to one service: the one before ends first. Runs go on meanwhile.
    update {
      max_parallel = 1
      auto_revert  = true
    }

    # Its data is on one node: elsewhere it would begin with nothing.
    disconnect { replace = false }

    task "haulier" {
      driver = "docker"

      config {
        image = var.image
        ports = ["http"]
      }

      identity { env = true } # NOMAD_TOKEN

      env {
        HAULIER_CONFIG = "${NOMAD_TASK_DIR}/haulier.toml"
      }

      volume_mount {
        volume      = "data"
        destination = "/var/lib/haulier"
      }

      template {
        destination = "local/haulier.toml"
        data        = <<-END
          log_format = "json"

          [engines.nomad]
          kind = "nomad"
          # The agent of the same node; with TLS, https and a ca_file.
          address = "http://{{ env "attr.unique.network.ip-address" }}:4646"
          namespace = "${var.namespace}"
        END
      }

      template {
        destination = "secrets/haulier.env"
        env         = true
        data        = <<-END
          {{ with nomadVar "nomad/jobs/haulier" -}}
          HAULIER_ADMIN_TOKEN={{ .admin_token }}
          HAULIER_MASTER_KEY={{ .master_key }}
          {{- end }}
        END
      }

      # It is out of the catalogue before it ends.
      shutdown_delay = "5s"
      kill_timeout   = "20s"

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
